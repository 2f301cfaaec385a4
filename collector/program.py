"""The collector's composition root: builds the pipelines of a flow file and runs them until told to stop."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog

from collector.adoption import Adoptions
from collector.fan_out.build import build_sink
from collector.fan_out.lag import Lag
from collector.pipeline import Pipeline
from collector.presence import Presence, watch_store
from qanat import limits, registry
from qanat.component import Context, Sink
from qanat.control.sampling import TapPoints
from qanat.coordination.store import Store
from qanat.delivery.receiver import ReceiverCore
from qanat.flow.bind import bind
from qanat.flow.model import LogicalNode
from qanat.metrics import Metrics
from qanat.throttle import Throttles

log = structlog.get_logger(__name__)

# A commit costs an fdatasync of data and one of the store. Five a second cost little beside the writing, and 200 ms is
# what a reader of the files waits at most.
COMMIT_S = 0.2

# Received bytes that start a commit earlier, so that a fast stream never waits for the interval with its window full:
# half of the window can be in the disk's hands while the rest is on its way. Half as much would double what an ensemble
# of servers has to do, for nothing.
COMMIT_BYTES = 32 * limits.MIB

# Payload a sender may have sent and not seen acked. Neither end holds it in memory (the file is the log, the page cache
# the buffer), so it only has to cover a commit at full speed: 64 MiB are 200 ms at 300 MB/s.
WINDOW_BYTES = 64 * limits.MIB


# A dead collector's files are finished by another one after this, counted from the end of its session (some seconds after
# its death). Whoever is only started again should do that itself: systemd waits a second, Kubernetes up to ten.
# Nobody loses anything by waiting but readers, who see the last roll interval later.
ADOPT_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be tuned; defaults are argued above."""

    commit_s: float = COMMIT_S
    commit_bytes: int = COMMIT_BYTES
    window_bytes: int = WINDOW_BYTES
    adopt_after_s: float = ADOPT_AFTER_S  # 0: never


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector process: `name` is unique in the cluster, `state_dir` is private to it."""

    name: str
    state_dir: Path
    nodes: Sequence[LogicalNode]
    store: Store
    metrics: Metrics
    settings: Settings
    taps: TapPoints = field(default_factory=TapPoints)
    throttles: Throttles = field(default_factory=Throttles)

    async def run(self, stop: asyncio.Event) -> None:
        """*Blocking* until `stop` is set and what was received is committed. Raises ConfigError."""
        pipelines = [self.build(node) for node in self.nodes]
        log.info("collector_started", name=self.name, nodes=[node.name for node in self.nodes])
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(pipeline.run()) for pipeline in pipelines]
                beside = [
                    _stop(pipelines, stop),
                    *self.beside(
                        self.presence(), {n.name: n for n in self.nodes}, [each.opened for each in pipelines]
                    ),
                ]
                tasks = [group.create_task(each) for each in beside]
                await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
                for task in tasks:
                    task.cancel()
        finally:
            await self.store.close()
        log.info("collector_stopped", name=self.name)

    def presence(self) -> Presence:
        """Its entry among the living."""
        return Presence(self.store, self.name, socket.gethostname())

    def beside(
        self, presence: Presence, nodes: Mapping[str, LogicalNode], opened: Sequence[asyncio.Event] = ()
    ) -> list[Coroutine[Any, Any, None]]:
        """What a collector does beside receiving. `nodes`: that run here, by name; may change. `opened`: it is present with the
        first of them, and not while it waits for a process of its name that has its storage."""
        beside = [_once_open(presence, opened), watch_store(self.store, self.metrics.store_connected.set)]
        if self.settings.adopt_after_s:
            beside.append(self._adoptions(nodes).run())
        return beside

    def _adoptions(self, nodes: Mapping[str, LogicalNode]) -> Adoptions:
        def sink_on(node: LogicalNode, physical_node: str) -> Sink:
            state_dir = self.state_dir / node.name / "adopted" / quote(physical_node, safe="")
            dropped = self.metrics.collector(node.name).dropped
            return build_sink(node, self._context(node, physical_node, state_dir), dropped=dropped)

        return Adoptions(
            self.name,
            self.store,
            _Sinks(nodes, sink_on),
            self._core,
            self.settings.adopt_after_s,
            self.metrics.adoptions.inc,
            lambda sink, size: self.metrics.stranded_bytes.labels(sink).set(size),
        )

    def _context(self, node: LogicalNode, physical_node: str, state_dir: Path) -> Context:
        return Context(
            physical_node=physical_node,
            logical_node=node.name,
            host=socket.gethostname(),
            state_dir=state_dir,
            count=self.metrics.counts(node.name),
            throttles=self.throttles,
        )

    def _core(self, sink: str) -> ReceiverCore:
        return ReceiverCore(
            sink,
            uuid.uuid4().hex,
            commit_s=self.settings.commit_s,
            commit_bytes=self.settings.commit_bytes,
        )

    def build(self, node: LogicalNode, address: str = "") -> Pipeline:
        """What runs `node`; nothing is opened. `address`: to listen at instead of what its source says. Raises ConfigError."""
        context = self._context_here(node)
        source_type = registry.collector_source(node.source.name)
        source = source_type(bind(node.source, source_type.Config), context)
        return Pipeline(
            self._core(f"{self.name}/{node.name}"),
            self.build_sink(node),
            self.store,
            context,
            self.metrics.collector(node.name),
            address=address or source.address(),
            window_bytes=self.settings.window_bytes,
            tap=self.taps.at(node.name),
        )

    def build_sink(self, node: LogicalNode) -> Sink:
        """The sink of `node`, not open. Raises ConfigError, OSError."""
        return build_sink(
            node,
            self._context_here(node),
            partial(self._branch_lags, node.name),
            self.metrics.collector(node.name).dropped,
        )

    def _branch_lags(self, logical_node: str, branch: str, lag: Lag) -> None:
        self.metrics.branch_lag(logical_node, branch, bytes=lag.bytes, events=lag.events, seconds=lag.seconds)

    def _context_here(self, node: LogicalNode) -> Context:
        context = self._context(node, self.name, self.state_dir / node.name)
        context.state_dir.mkdir(parents=True, exist_ok=True)
        return context


class _Sinks(Mapping[str, Callable[[str], Sink]]):
    """What makes the sink of a logical node as it is on a given physical node, for those that run here now."""

    def __init__(self, nodes: Mapping[str, LogicalNode], sink_on: Callable[[LogicalNode, str], Sink]) -> None:
        self._nodes, self._sink_on = nodes, sink_on

    def __getitem__(self, logical: str) -> Callable[[str], Sink]:
        return partial(self._sink_on, self._nodes[logical])

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


async def _stop(pipelines: Sequence[Pipeline], stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("collector_draining")
    for pipeline in pipelines:
        pipeline.stop()


async def _once_open(presence: Presence, opened: Sequence[asyncio.Event]) -> None:
    if opened:
        waiting = [asyncio.ensure_future(each.wait()) for each in opened]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
    await presence.run()
