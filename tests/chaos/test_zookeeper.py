"""The whole cluster on a real ensemble: programs and servers killed and stopped, the ways between them cut, files rotating."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from qanat.testing.cluster import Collector
from qanat.testing.zookeeper import Ensemble
from tests.chaos.driver import SECONDS, Way, ZookeeperServer, chaos
from tests.integration.tcp_proxy import proxied

SESSION = "session_timeout=4s"


class Ways(ExitStack):
    """Proxies that live until the block ends."""

    def to_store(self, ensemble: Ensemble) -> tuple[str, Way]:
        """A URL of the store through proxies of one's own, and the way that it makes."""
        proxies = [self.enter_context(proxied(server.port)) for server in ensemble.servers]
        hosts = ",".join(proxy.address for proxy in proxies)
        return f"zookeeper://{hosts}/chaos?{SESSION}", Way(proxies)

    def to_collectors(self, *collectors: Collector) -> tuple[list[str], Way]:
        """Their addresses through proxies of one's own."""
        proxies = [self.enter_context(proxied(collector.port)) for collector in collectors]
        return [proxy.address for proxy in proxies], Way(proxies)


@pytest.mark.usefixtures("zookeeper_installed")
def test_programs_servers_and_ways(tmp_path: Path) -> None:
    with (
        Ensemble(tmp_path / "zookeeper") as ensemble,
        Ways() as ways,
        chaos("programs_servers_and_ways") as trouble,
    ):
        collectors = []
        for name in ("c1", "c2"):
            url, trouble.others[f"{name}-store"] = ways.to_store(ensemble)
            collectors.append(trouble.collector(name, store=url, commits=("50ms", "200ms")))
        for number in range(3):
            preferred = collectors[number % 2 :] + collectors[: number % 2]
            chain, trouble.others[f"a{number}-collectors"] = ways.to_collectors(*preferred)
            trouble.agent(f"a{number}", *chain)
        trouble.others |= {f"zk{index}": ZookeeperServer(ensemble, index) for index in range(3)}
        with trouble.writing():
            trouble.torment(SECONDS)
        trouble.assert_exactly_once()
