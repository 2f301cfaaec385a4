"""The collector's composition root: builds the pipelines of a flow file and runs them until told to stop."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from collector.fan_out.build import build_sink
from collector.pipeline import Pipeline
from qanat import limits, registry
from qanat.component import Context
from qanat.coordination.store import Store
from qanat.delivery.receiver import ReceiverCore
from qanat.flow.bind import bind
from qanat.flow.model import LogicalNode
from qanat.metrics import Metrics

log = structlog.get_logger(__name__)

# A commit costs an fdatasync of data and one of the store. Five a second cost little beside the writing, and 200 ms is
# what a reader of the files waits at most.
COMMIT_S = 0.2

# Received bytes that start a commit earlier, so that a fast stream never waits for the interval with its window full:
# a quarter of the window can be in the disk's hands while the rest is on its way.
COMMIT_BYTES = 16 * limits.MIB

# Payload a sender may have sent and not seen acked. Neither end holds it in memory (the file is the log, the page cache
# the buffer), so it only has to cover a commit at full speed: 64 MiB are 200 ms at 300 MB/s.
WINDOW_BYTES = 64 * limits.MIB


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be tuned; defaults are argued above."""

    commit_s: float = COMMIT_S
    commit_bytes: int = COMMIT_BYTES
    window_bytes: int = WINDOW_BYTES


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector process: `name` is unique in the cluster, `state_dir` is private to it."""

    name: str
    state_dir: Path
    nodes: Sequence[LogicalNode]
    store: Store
    metrics: Metrics
    settings: Settings

    async def run(self, stop: asyncio.Event) -> None:
        """*Blocking* until `stop` is set and what was received is committed. Raises ConfigError."""
        pipelines = [self._build(node) for node in self.nodes]
        log.info("collector_started", name=self.name, nodes=[node.name for node in self.nodes])
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(pipeline.run()) for pipeline in pipelines]
                stopping = group.create_task(_stop(pipelines, stop))
                await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
                stopping.cancel()
        finally:
            await self.store.close()
        log.info("collector_stopped", name=self.name)

    def _build(self, node: LogicalNode) -> Pipeline:
        context = Context(
            physical_node=self.name,
            logical_node=node.name,
            host=socket.gethostname(),
            state_dir=self.state_dir / node.name,
            count=self.metrics.counts(node.name),
        )
        context.state_dir.mkdir(parents=True, exist_ok=True)
        source_type = registry.collector_source(node.source.name)
        source = source_type(bind(node.source, source_type.Config), context)
        sink = build_sink(node, context)
        core = ReceiverCore(
            f"{self.name}/{node.name}",
            uuid.uuid4().hex,
            commit_s=self.settings.commit_s,
            commit_bytes=self.settings.commit_bytes,
        )
        return Pipeline(
            core,
            sink,
            self.store,
            context,
            self.metrics.collector(node.name),
            address=source.address(),
            window_bytes=self.settings.window_bytes,
        )


async def _stop(pipelines: Sequence[Pipeline], stop: asyncio.Event) -> None:
    await stop.wait()
    log.info("collector_draining")
    for pipeline in pipelines:
        pipeline.stop()
