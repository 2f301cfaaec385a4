"""An agent with a flow file, and no master: its logical nodes run until it is told to stop.

Masters have a node's channel emptied before it gets another one. Here the file was changed while nothing ran, perhaps after a
crash: what was read for the former channel, or none, is delivered first, as that node would have done it.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from agent.program import Agent, Running
from qanat.errors import RetryableError
from qanat.flow.model import LogicalNode
from qanat.flow.printer import print_node
from qanat.rpc.backoff import backoff_s

if TYPE_CHECKING:
    from agent.node import RunningNode

log = structlog.get_logger(__name__)

# What a stopping agent waits for acks, and for a memory channel to be emptied. What is not acked by then is sent again by
# the next start, if it is in the source or on disk. As long as supervisors wait at least: Docker kills after 10 s,
# Kubernetes after 30, systemd after 90.
DRAIN_S_MAX = 10.0

LOOK_S = 0.05  # whether collectors answer a former node
RETRY_S_MAX = 10.0  # between attempts at one whose collectors went away again


async def run(agent: Agent, nodes: Sequence[LogicalNode], stop: asyncio.Event) -> None:
    """*Blocking* until `stop` is set and what was sent is acked. Raises ConfigError, FencedError."""
    instance = uuid.uuid4().hex
    lives = [_Life(agent, node, instance) for node in nodes]
    log.info("agent_started", name=agent.name, nodes=[node.name for node in nodes], instance=instance)
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(life.run()) for life in lives]
            stopping = group.create_task(_stop(lives, running, stop))
            await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
            stopping.cancel()
    except* asyncio.CancelledError:
        pass
    log.info("agent_stopped", name=agent.name)


async def _stop(lives: Sequence[_Life], running: Sequence[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Once told to: let every node drain, but not for ever."""
    await stop.wait()
    log.info("agent_draining", seconds_max=DRAIN_S_MAX)
    for life in lives:
        life.stop()
    _, late = await asyncio.wait(running, timeout=DRAIN_S_MAX)
    for task in late:
        log.warning(
            "agent_stopped_undrained",
            reason="not all acks came in time; what is in a source or on disk is sent again by the next start",
        )
        task.cancel()


class _Life:
    """One node, built at once, or when its former self has delivered everything."""

    def __init__(self, agent: Agent, node: LogicalNode, instance: str) -> None:
        """Raises ConfigError, CorruptError, OSError."""
        self._agent = agent
        self._node = node
        self._instance = instance
        self._stopping = asyncio.Event()
        self._former = agent.former(node)
        self._parts: Sequence[Running] = agent.build(node, instance, to_open=self._former is None)

    async def run(self) -> None:
        """*Blocking* until stopped and drained. Raises what a part raises."""
        if self._former is not None:
            await self._settle(self._former)
            if self._stopping.is_set():
                return
            self._parts = self._agent.build(self._node, self._instance)
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                group.create_task(part.run())
            self._former = None

    def stop(self) -> None:
        """Read nothing more; `run` ends when what was sent is acked."""
        self._stopping.set()
        if self._former is None:
            for part in self._parts:
                part.stop()

    async def _settle(self, former: LogicalNode) -> None:
        """Until everything that `former` has read is acked, or it is stopped."""
        from agent.node import RunningNode  # with what masters need: only for whoever changes a channel

        attempt = 0
        while not self._stopping.is_set():
            log.info(
                "channel_changed",
                node=self._node.name,
                before=str(former.channel and former.channel.name),
                now=str(self._node.channel and self._node.channel.name),
                consequence="what was read for the former one is delivered first",
            )
            running = RunningNode(former, self._agent.build(former, self._instance), self._agent)
            ending = asyncio.create_task(self._end(running))
            try:
                await running.run(lambda address: None)
                return
            except* RetryableError as group:
                attempt += 1
                why = "; ".join(map(str, group.exceptions))
            finally:
                ending.cancel()
            if not self._stopping.is_set():
                log.warning(
                    "former_channel_not_left",
                    node=self._node.name,
                    reason=why,
                    consequence="it is tried again, and this node reads nothing else before",
                )
                await _sleep(self._stopping, backoff_s(attempt, RETRY_S_MAX))

    async def _end(self, running: RunningNode) -> None:
        """As soon as collectors answer: what was read is delivered, and nothing more is."""
        while not running.is_streaming and not self._stopping.is_set():
            await _sleep(self._stopping, LOOK_S)
        running.stop(print_node(self._node))


async def _sleep(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()
