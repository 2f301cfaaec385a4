"""Decorators with real processes, on the agent, on the collector and in branches: what goes on is stored exactly once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qanat.testing.cluster import Cluster, Collector, published, written_lines
from tests.integration.lines import append, assert_exactly_once, tail

ROUND = 4_000


def mixed(first: int, last: int) -> bytes:
    """Numbered lines, each among others that have to go, some from the agent and some from the collector."""
    return b"".join(
        b"noise %d for the agent\nstream=s seq=%010d level=%s\nnoise %d for the collector\n"
        % (n, n, b"ERROR" if n % 10 == 0 else b"INFO", n)
        for n in range(first, last)
    )


def _endures(cluster: Cluster, collector: Collector, wanted: Path) -> None:
    """Rounds of lines, with agent and collector killed in the midst of them."""
    agent = cluster.daemons[-1]
    cluster.start()
    for part in range(4):
        append(cluster.directory / "in" / "a.log", mixed(part * ROUND, (part + 1) * ROUND))
        cluster.wait_until(lambda: collector.stored_events() > 0, "something is stored")
        victim = collector if part % 2 else agent
        victim.kill()
        victim.start()
    cluster.wait_until(lambda: written_lines(wanted) == 4 * ROUND, "all that was to go on is stored")
    cluster.stop()
    assert_exactly_once(wanted, 4 * ROUND)


@pytest.mark.parametrize("channel", ["", " | fileChannel(capacity=64MiB)"])
def test_what_filters_leave_is_stored_once_when_agent_and_collector_are_killed(cluster, channel):
    out = cluster.directory / "out"
    sink = f'drop("for the collector") value("tier", "2") file("{out}/%{{service}}/", "x-%{{tier}}-")'
    c1 = cluster.collector("c1", sink=sink)
    cluster.agent(
        "a1",
        tail(cluster) + channel,
        c1,
        sink='value("service", "shop") drop("for the agent") agentE2EChain({})',
    )
    _endures(cluster, c1, out)
    assert {path.parent.name for path in published(out)} == {"shop"}
    assert all(path.name.startswith("x-2-") for path in published(out))


def test_decorators_of_a_branch_are_of_that_branch_only(cluster):
    out = cluster.directory / "out"
    sinks = [
        f'drop("noise") file("{out}/all/", "x-", format="json")',
        f'filter("level=ERROR") file("{out}/errors/", "x-", required=true)',
        f'value("third", "3") file("{out}/raw/", "x-")',
    ]
    c1 = cluster.collector("c1", sink=f'drop("for the collector") [ {", ".join(sinks)} ]')
    cluster.agent("a1", tail(cluster), c1)
    _endures(cluster, c1, out / "all")
    errors = [line for path in published(out / "errors") for line in path.read_bytes().splitlines()]
    assert errors == [b"stream=s seq=%010d level=ERROR" % n for n in range(0, 4 * ROUND, 10)]
    assert sum(path.read_bytes().count(b"\n") for path in published(out / "raw")) == 8 * ROUND
    rows = [json.loads(line) for path in published(out / "all") for line in path.read_bytes().splitlines()]
    assert len({row["position"] for row in rows}) == 4 * ROUND
    assert all("third" not in row["attributes"] for row in rows)


@pytest.mark.parametrize("channel", ["", " | fileChannel(capacity=64MiB)"])
def test_an_agents_branches_have_decorators_of_their_own(cluster, channel):
    c1, c2 = cluster.collector("c1"), cluster.collector("c2")
    cluster.agent(
        "a1",
        tail(cluster) + channel,
        c1,
        c2,
        sink='drop("for the agent") [ drop("noise") agentE2EChain({0}), filter("noise") agentE2EChain({1}) ]',
    )
    cluster.start()
    append(cluster.directory / "in" / "a.log", mixed(0, ROUND))
    cluster.wait_until(lambda: c1.stored_events() == ROUND == c2.stored_events(), "both have theirs")
    cluster.stop()
    assert_exactly_once(c1.out, ROUND)
    noise = [line for path in published(c2.out) for line in path.read_bytes().splitlines()]
    assert noise == [b"noise %d for the collector" % n for n in range(ROUND)]
