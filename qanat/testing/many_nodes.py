"""Physical nodes by the thousand, for the bench of masters: they speak the protocol of nodes, and cost little themselves.

What each is told runs at once. Which master is tried when is as with real nodes (`qanat/control/attachment.py`).
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence

from qanat.control.attachment import ATTACH, NEXT_S_MAX, PROTOCOL, ROUND_S_MAX, SILENT_REPORTS, SILENT_S_MIN
from qanat.rpc.backoff import backoff_s
from qanat.testing.streams import Connection, Stream
from qanat.wire.v1 import control_pb2 as wire


class Connections:
    """Connections to masters that nodes share, `nodes_each` at a time."""

    def __init__(self, nodes_each: int) -> None:
        self._nodes_each = nodes_each
        self._opening: dict[str, tuple[asyncio.Task[Connection], int]] = {}

    async def get(self, address: str) -> Connection:
        """One that is open. Raises OSError."""
        opening, used = self._opening.get(address, (None, 0))
        if opening is None or used >= self._nodes_each or _is_useless(opening):
            opening, used = asyncio.create_task(Connection.open(address, ATTACH)), 0
        self._opening[address] = opening, used + 1
        return await asyncio.shield(opening)


def _is_useless(opening: asyncio.Task[Connection]) -> bool:
    return opening.done() and (opening.exception() is not None or not opening.result().is_open)


class PlainNode:
    """One node, attached to one of the masters from `start` on for as long as the loop runs."""

    def __init__(
        self, name: str, masters: Sequence[str], labels: dict[str, str], connections: Connections
    ) -> None:
        self._register = wire.Register(
            protocol=PROTOCOL, name=name, role="agent", host=name, labels=labels, version="simulated",
            instance=secrets.token_hex(8),
        )  # fmt: skip
        self._given = list(masters)
        self._queue: list[str] = []
        self._connections = connections
        self._report = wire.Report()
        self._report_s = 5.0
        self._heard_at_s = 0.0
        self._failures = 0
        self._stream: Stream | None = None
        self._reporting: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._attaching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Attach to the next master."""
        if not self._queue:
            self._queue = random.sample(self._given, len(self._given))
        self._attaching = self._loop.create_task(self._attach(self._queue.pop(0)))

    async def _attach(self, address: str) -> None:
        try:
            connection = await self._connections.get(address)
            self._stream = connection.stream(self._take, self._leave)
        except OSError:
            self._leave()
            return
        self._register.report.CopyFrom(self._report)
        self._stream.write(wire.FromNode(register=self._register).SerializeToString())
        self._heard_at_s = time.monotonic()
        self._report_later(random.random())

    def _leave(self) -> None:
        """The stream has ended, or there was none."""
        self._stream = None
        if self._reporting is not None:
            self._reporting.cancel()
        self._failures += 1
        rounds = 0 if self._queue else self._failures // len(self._given)
        pause_s = backoff_s(rounds, ROUND_S_MAX) if rounds else random.uniform(0, NEXT_S_MAX)
        self._loop.call_later(pause_s, self.start)

    def _take(self, data: bytes) -> None:
        message = wire.ToNode.FromString(data)
        self._heard_at_s = time.monotonic()
        match message.WhichOneof("message"):
            case "registered":
                self._failures = 0
                self._given = list(message.registered.masters) or self._given
                self._report_s = message.registered.report_s
            case "assign":
                self._run(message.assign)
            case "heard":
                self._report_s = message.heard.report_s
                self._register.start = message.heard.start or self._register.start
            case "move":
                self._queue = list(message.move.masters)
                self._end()
            case "refused":
                if message.refused.fenced:
                    raise AssertionError(f"{self._register.name} was fenced: {message.refused.why}")
                self._end()

    def _run(self, assign: wire.Assign) -> None:
        """Everything at once. Hashes are believed: a real node computes them, on a core of its own."""
        self._report = wire.Report(
            wanted_revision=assign.revision,
            applied_revision=assign.revision,
            logical=[
                wire.LogicalState(
                    logical=each.logical,
                    wanted_hash=each.hash,
                    running_hash=each.hash,
                    state=wire.IDLE if each.waiting else wire.ACTIVE,
                    why=each.waiting,
                )
                for each in assign.statements
            ],
        )
        self._say()

    def _say(self) -> None:
        if self._stream is not None:
            self._report.at_ns = time.time_ns()
            self._stream.write(wire.FromNode(report=self._report).SerializeToString())

    def _report_later(self, part: float) -> None:
        self._reporting = self._loop.call_later(self._report_s * part, self._report_again)

    def _report_again(self) -> None:
        if time.monotonic() - self._heard_at_s > max(SILENT_REPORTS * self._report_s, SILENT_S_MIN):
            self._end()
            return
        self._say()
        self._report_later(random.uniform(0.8, 1.0))

    def _end(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._leave()
