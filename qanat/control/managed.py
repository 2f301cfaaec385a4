"""A program that masters tell what to run: its logical nodes, and its connection to a master, for as long as it lives."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import structlog

from qanat.control import node_messages as m
from qanat.control.attachment import PROTOCOL, Attachment
from qanat.control.last_good import LastGood
from qanat.control.last_limits import LastLimits
from qanat.control.physical import PhysicalNode
from qanat.control.running import Program
from qanat.control.tapping import Tapping
from qanat.described import LogicalDescription, NodeDescription
from qanat.throttle import Limit
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

# A master that was just started reads the store first. After so long without an assignment, what ran last runs again.
ALONE_S = 10.0


class Managed:
    """`directory`: private to this node. `listens`: is told where logical nodes listen, whenever that changes."""

    def __init__(
        self,
        program: Program,
        name: str,
        labels: Mapping[str, str],
        masters: Sequence[str],
        directory: Path,
        listens: Callable[[dict[str, str]], None] = lambda addresses: None,
    ) -> None:
        self._name = name
        self._register = wire.Register(
            protocol=PROTOCOL,
            name=name,
            role=program.role,
            host=socket.gethostname(),
            labels=labels,
            instance=uuid.uuid4().hex,
            version=version("qanat"),
        )
        self._node = PhysicalNode(program, LastGood(directory), self._changed, listens)
        self._attachment = Attachment(
            masters, self._registration, self._node.report, self._heard, self._unanswered
        )
        program.metrics.describe = self._describe
        self._limits = LastLimits(directory)
        self._throttles = program.throttles
        self._throttles.set(self._limits.last)
        self._tapping = Tapping(program.taps, self._node.core.slots.__contains__, self._attachment)

    async def run(self, stop: asyncio.Event) -> None:
        """*Blocking* until `stop` is set and everything is drained. Raises FencedError when a later process has this name."""
        log.info("node_started", name=self._name, role=self._register.role)
        alone = asyncio.get_running_loop().call_later(ALONE_S, self._unanswered)
        try:
            async with asyncio.TaskGroup() as group:
                attached = group.create_task(self._attachment.run())
                stopping = group.create_task(self._stop(stop))
                await group.create_task(self._node.run())
                attached.cancel()
                stopping.cancel()
        finally:
            alone.cancel()
            await self._tapping.close()
        log.info("node_stopped", name=self._name)

    async def _stop(self, stop: asyncio.Event) -> None:
        await stop.wait()
        log.info("node_draining", name=self._name)
        self._node.stop()

    def _describe(self) -> NodeDescription:
        """*Thread*: whichever serves metrics."""
        core = self._node.core
        logical = [
            LogicalDescription(
                each.logical,
                each.state.name,
                "" if each.wanted is None else each.wanted.hash,
                each.running_hash,
                each.attempts,
            )
            for each in list(core.slots.values())
        ]
        states = [state.name for state in m.State]
        is_attached = bool(self._attachment.session)
        return NodeDescription(is_attached, core.wanted_revision, core.applied_revision, states, logical)

    def _changed(self) -> None:
        self._attachment.report_soon()

    def _registration(self) -> wire.Register:
        return self._register

    def _unanswered(self) -> None:
        if not self._node.core.wanted_revision:
            self._node.handle(m.Alone())

    def _heard(self, message: wire.ToNode) -> None:
        match message.WhichOneof("message"):
            case "assign":
                self._node.told(message.assign)
            case "refresh":
                self._node.handle(m.Refreshed(tuple(message.refresh.logical)))
            case "tap":
                self._tapping.begin(message.tap)
            case "stop_tap":
                self._tapping.stop(message.stop_tap.tap_id)
            case "limits":
                self._limited(message.limits)
            case _:  # from a later master
                pass

    def _limited(self, limits: wire.Limits) -> None:
        """What masters said last holds while none answers, and over a restart."""
        by_id = {id_: Limit(each.events_s, each.bytes_s) for id_, each in limits.limits.items()}
        if by_id != self._limits.last:
            log.info("limits_changed", limits={id_: str(each) for id_, each in by_id.items()})
            self._throttles.set(by_id)
            self._limits.save(by_id)
