"""The agent's composition root: builds the deliveries of a flow file and runs them until told to stop."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.delivery import Delivery
from qanat import registry
from qanat.component import Context
from qanat.delivery.sender import SenderCore
from qanat.flow.bind import bind
from qanat.flow.model import Call, LogicalNode
from qanat.metrics import Metrics

log = structlog.get_logger(__name__)

DRAIN_S_MAX = (
    10.0  # what a stopping agent waits for acks; what is not acked by then is sent again by the next start
)


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent process: `name` is unique in the cluster, `state_dir` is private to it."""

    name: str
    state_dir: Path
    nodes: Sequence[LogicalNode]
    metrics: Metrics

    async def run(self, stop: asyncio.Event) -> None:
        """*Blocking* until `stop` is set and what was sent is acked. Raises ConfigError, FencedError."""
        instance = uuid.uuid4().hex
        deliveries = [self._build(node, instance) for node in self.nodes]
        log.info("agent_started", name=self.name, nodes=[node.name for node in self.nodes], instance=instance)
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(delivery.run()) for delivery in deliveries]
                stopping = group.create_task(_stop(deliveries, running, stop))
                await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
                stopping.cancel()
        except* asyncio.CancelledError:
            pass
        log.info("agent_stopped", name=self.name)

    def _build(self, node: LogicalNode, instance: str) -> Delivery:
        context = Context(
            physical_node=self.name,
            logical_node=node.name,
            host=socket.gethostname(),
            state_dir=self.state_dir / node.name,
            count=self.metrics.counts(node.name),
        )
        context.state_dir.mkdir(parents=True, exist_ok=True)
        source_type = registry.source(node.source.name)
        source = source_type(bind(node.source, source_type.Config), context)
        assert isinstance(node.sink, Call)
        sink_type = registry.agent_sink(node.sink.name)
        sink = sink_type(bind(node.sink, sink_type.Config), context)
        core = SenderCore(f"{self.name}/{node.name}", instance, sink.destinations())
        return Delivery(core, source, context, self.metrics.agent(node.name))


async def _stop(
    deliveries: Sequence[Delivery], running: Sequence[asyncio.Task[None]], stop: asyncio.Event
) -> None:
    """Once told to: let every delivery drain, but not for ever."""
    await stop.wait()
    log.info("agent_draining", seconds_max=DRAIN_S_MAX)
    for delivery in deliveries:
        delivery.stop()
    _, late = await asyncio.wait(running, timeout=DRAIN_S_MAX)
    for task in late:
        log.warning(
            "agent_stopped_undrained",
            reason="not all acks came in time; the rest is sent again at the next start",
        )
        task.cancel()
