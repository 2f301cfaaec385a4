"""A collector under masters: its logical nodes come and go, one by one, while the others run."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from collector.pipeline import Pipeline
from collector.program import Collector
from qanat.check import installed_names
from qanat.control.managed import Managed
from qanat.control.measures import Measures
from qanat.control.running import Destination, Running
from qanat.control.sampling import TapPoints
from qanat.errors import ConfigError, RetryableError
from qanat.flow.faults import Faults
from qanat.flow.model import LogicalNode
from qanat.flow.tiers import Tier, tier_of
from qanat.metrics import Metrics
from qanat.throttle import Throttles
from qanat.wire.v1 import control_pb2 as wire

AUTO_SOURCE = "autoCollectorSource"

# Below what Linux gives to outgoing connections: while a logical node is between two statements, nobody gets its port.
_PORTS = range(20_000, 32_000)


class Ports:
    """Which port each autoCollectorSource has: the same at every start, since agents' chains name it.

    `host`: to listen at. `preferred`: the first choice of the first logical node. Kept in `path`."""

    def __init__(self, path: Path, host: str, preferred: int, *, insists: bool) -> None:
        self._path, self._host, self._preferred = path, host, preferred
        self._insists = insists
        self._ports: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._ports = {str(name): int(port) for name, port in json.loads(path.read_text()).items()}

    def address(self, logical: str) -> str:
        """Where `logical` listens. Raises RetryableError when nothing is free."""
        port = self._ports.get(logical)
        if port is None or not self._is_free(port):
            port = self._chosen(logical)
            self._ports[logical] = port
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(self._ports))
            temporary.replace(self._path)
        return f"{self._host}:{port}"

    def _chosen(self, logical: str) -> int:
        is_first = all(port != self._preferred for name, port in self._ports.items() if name != logical)
        if is_first and (self._insists or self._is_free(self._preferred)):
            return self._preferred
        taken = set(self._ports.values())
        for port in random.sample(_PORTS, len(_PORTS)):
            if port not in taken and self._is_free(port):
                return port
        raise RetryableError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free for {logical}")

    def _is_free(self, port: int) -> bool:
        host = self._host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                return error.errno != errno.EADDRINUSE
        return True


class CollectorProgram:
    """See `qanat.control.running.Program`. `collector` builds the pipelines; its own list of nodes is empty.

    `advertised`: the host by which agents reach this one. `nodes`: those that run, by name."""

    role: ClassVar[str] = "collector"

    def __init__(self, collector: Collector, ports: Ports, advertised: str) -> None:
        self.nodes: dict[str, LogicalNode] = {}
        self._collector = collector
        self._ports = ports
        self._advertised = advertised
        self._measures = Measures(collector.metrics)

    def check(self, node: LogicalNode) -> None:
        """Raises ConfigError, OSError."""
        if tier_of(node, installed_names(), Faults()) is not Tier.COLLECTOR:
            raise ConfigError(f"{node.name} does not take what agents deliver, so no collector can run it")
        self._collector.build_sink(node)

    def build(self, node: LogicalNode) -> Running:
        """Raises ConfigError, RetryableError."""
        is_auto = node.source.name == AUTO_SOURCE
        address = self._ports.address(node.name) if is_auto else ""
        ended = partial(self.metrics.forget_branches, node.name)
        return RunningNode(node, self._collector.build(node, address), self._advertised, self.nodes, ended)

    @property
    def metrics(self) -> Metrics:
        """See `qanat.control.running.Program`."""
        return self._collector.metrics

    @property
    def taps(self) -> TapPoints:
        """See `qanat.control.running.Program`."""
        return self._collector.taps

    @property
    def throttles(self) -> Throttles:
        """Of what `choke` holds back here."""
        return self._collector.throttles

    def counters(self, logical: str) -> wire.Counters:
        """Lag: what was received and is not stored, by every branch of a fan-out."""
        of = self._measures.read(logical)
        unacked_age_s = of.first("qanat_unacked_age_seconds")
        return wire.Counters(
            events=int(of.first("qanat_stored_events_total")),
            bytes=int(of.first("qanat_stored_bytes_total")),
            lag_bytes=int(of.first("qanat_unstored_bytes") + of.first("qanat_branch_lag_bytes")),
            lag_s=max(unacked_age_s, of.first("qanat_branch_lag_seconds")),
            unacked_age_s=unacked_age_s,
            dropped_events=int(of.total("qanat_dropped_events_total")),
            positions=self._measures.positions(logical),
        )


class RunningNode:
    """See `qanat.control.running.Running`."""

    def __init__(
        self,
        node: LogicalNode,
        pipeline: Pipeline,
        advertised: str,
        nodes: dict[str, LogicalNode],
        ended: Callable[[], None],
    ) -> None:
        self._node = node
        self._ended = ended
        self._pipeline = pipeline
        self._advertised = advertised
        self._nodes = nodes

    async def run(self, opened: Callable[[str], None]) -> None:
        """Raises what the pipeline raises."""
        opening = asyncio.create_task(self._when_open(opened))
        try:
            await self._pipeline.run()
        finally:
            self._nodes.pop(self._node.name, None)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            self._ended()

    def amend(self, node: LogicalNode) -> bool:
        """A sink's transaction ends with the sink."""
        return False

    def stop(self, successor: str) -> None:
        """Whatever follows: what was received is committed, files are finished, claims released."""
        self._pipeline.stop()

    def retry_soon(self) -> None:
        """It waits for storage, of which masters know nothing."""

    @property
    def is_over(self) -> bool:
        """Agents may always come."""
        return False

    @property
    def delivers_to(self) -> Sequence[Destination]:
        """It stores."""
        return ()

    @property
    def trouble(self) -> str:
        """What its sink or the store waits for."""
        return self._pipeline.waits_for

    async def _when_open(self, opened: Callable[[str], None]) -> None:
        await self._pipeline.opened.wait()
        self._nodes[self._node.name] = self._node
        opened(f"{self._advertised}:{self._pipeline.ingest.port}")


class ManagedCollector:
    """One collector process under masters."""

    def __init__(
        self,
        collector: Collector,
        ports: Ports,
        advertised: str,
        masters: Sequence[str],
        labels: Mapping[str, str],
    ) -> None:
        self._collector = collector
        self._presence = collector.presence()
        self._program = CollectorProgram(collector, ports, advertised)
        self._managed = Managed(
            self._program, collector.name, labels, masters, collector.state_dir, self._presence.listens
        )

    async def run(self, stop: asyncio.Event) -> None:
        """*Blocking* until `stop` is set and what was received is committed. Raises FencedError."""
        try:
            async with asyncio.TaskGroup() as group:
                beside = [*self._collector.beside(self._presence, self._program.nodes), self._leave(stop)]
                tasks = [group.create_task(each) for each in beside]
                await group.create_task(self._managed.run(stop))
                for task in tasks:
                    task.cancel()
        finally:
            await self._collector.store.close()

    async def _leave(self, stop: asyncio.Event) -> None:
        """Automatic chains leave this one out, from now on."""
        await stop.wait()
        self._presence.leaves()


def reached_host(masters: Sequence[str]) -> str:
    """The address of this host from which the first master that has one is reached: where agents, too, will find it."""
    for master in masters:
        host, _, port = master.rpartition(":")
        with contextlib.suppress(OSError):
            found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(address)  # sends nothing
                own = str(probe.getsockname()[0])
                return f"[{own}]" if ":" in own else own
    return socket.gethostname()
