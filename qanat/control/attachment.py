"""A physical node's connection to any of the masters: kept, moved and made anew."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence

import grpc
import structlog

from qanat.errors import FencedError
from qanat.rpc.backoff import backoff_s
from qanat.rpc.options import control_options
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

ATTACH = "/qanat.v1.Control/Attach"
PROTOCOL = 1

CONNECT_S_MAX = 3.0  # a master that does not accept a connection by then is as good as dead

# Nothing heard for so many report intervals, and for so long at least: a master that collects garbage or waits for its disk.
SILENT_REPORTS, SILENT_S_MIN = 3, 10.0

LISTEN_S_MAX = 1.0  # how often to look whether it is so: a master may ask for reports more often at any time

# Within a round over all masters the next is tried almost at once, but not by ten thousand nodes in the same millisecond.
NEXT_S_MAX = 0.5
# After a round. A master restarts within some seconds, and thousands of nodes try it each once in this time.
ROUND_S_MAX = 10.0


# Samples of a tap that were not written yet: a master that takes no more than that is slow, and gets fewer of them.
OUTBOX_MESSAGES_MAX = 10

# What changes within so short a time is one report.
TOGETHER_S = 0.02


class _OverError(Exception):
    """This connection is to end; the message says why."""


class _MovedError(_OverError):
    """The master has sent this node to others."""


class Attachment:
    """`handle` hears everything a master says but what keeps the connection. `unanswered` is called after every round in
    which no master answered. *Thread*: the event loop's."""

    def __init__(
        self,
        masters: Sequence[str],
        register: Callable[[], wire.Register],
        report: Callable[[], wire.Report],
        handle: Callable[[wire.ToNode], None],
        unanswered: Callable[[], None],
    ) -> None:
        self.master = ""  # the id of the one that it is attached to
        self.session = 0  # another one with every master that is attached to; 0: attached to none
        self._sessions = 0
        self._given = list(dict.fromkeys(masters))
        self._queue = random.sample(self._given, len(self._given))
        self._known: list[str] = []  # as masters say
        self._register, self._report = register, report
        self._handle, self._unanswered = handle, unanswered
        self._news = asyncio.Event()
        self._is_due = False  # a report
        self._outbox: list[wire.FromNode] = []
        self._report_s = 5.0  # until a master says how often
        self._start = 0  # see Register
        self._heard_s = 0.0
        self._failures = 0  # in a row
        self._moved = False  # the last connection ended because its master wanted that

    def report_soon(self) -> None:
        """Something has changed."""
        self._is_due = True
        self._news.set()

    @property
    def has_room(self) -> bool:
        """The master takes what it is told."""
        return len(self._outbox) < OUTBOX_MESSAGES_MAX

    def say(self, message: wire.FromNode) -> None:
        """Send it, if a master listens. Ask for `has_room` before whatever comes again and again."""
        if self.master:
            self._outbox.append(message)
            self._news.set()

    async def run(self) -> None:
        """Until cancelled. Raises FencedError when a later process of this name attached."""
        while True:
            address = self._next()
            why = await self._attach(address)
            was_attached, self.master, self.session = self.master, "", 0
            if was_attached:
                # A planned move is no trouble: masters even out their load whenever one comes.
                say, event = (log.info, "master_left") if self._moved else (log.warning, "master_lost")
                say(event, master=was_attached, address=address, reason=why)
                self._failures = 0
                await asyncio.sleep(random.uniform(0, NEXT_S_MAX))
            else:
                log.debug("master_unreachable", address=address, reason=why)
                await asyncio.sleep(self._pause_s(why))

    def _next(self) -> str:
        if not self._queue:
            everybody = list(dict.fromkeys([*self._known, *self._given]))
            self._queue = random.sample(everybody, len(everybody))
        return self._queue.pop(0)

    def _pause_s(self, why: str) -> float:
        self._failures += 1
        if self._queue:
            return random.uniform(0, NEXT_S_MAX)
        everybody = max(1, len(set(self._known) | set(self._given)))
        rounds = self._failures // everybody
        if rounds == 0:
            return random.uniform(0, NEXT_S_MAX)
        if rounds == 1:
            log.warning("no_master_answers", tried=sorted({*self._known, *self._given}), reason=why)
        self._unanswered()
        return backoff_s(rounds, ROUND_S_MAX)

    async def _attach(self, address: str) -> str:
        """Gives why it ended."""
        self._moved = False
        try:
            async with grpc.aio.insecure_channel(address, options=control_options()) as channel:
                await asyncio.wait_for(_ready(channel), CONNECT_S_MAX)
                call = channel.stream_stream(
                    ATTACH,
                    request_serializer=wire.FromNode.SerializeToString,
                    response_deserializer=wire.ToNode.FromString,
                )()
                await self._converse(call)
                return "the master ended the connection"
        except TimeoutError:
            return "no answer in time"
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        except _MovedError as error:
            self._moved = True
            return str(error)
        except (_OverError, asyncio.InvalidStateError) as error:
            return str(error) or "the connection ended while a message was being written"

    async def _converse(self, call: grpc.aio.StreamStreamCall[wire.FromNode, wire.ToNode]) -> None:
        register = self._register()
        register.report.CopyFrom(self._report())
        register.start = self._start
        await call.write(wire.FromNode(register=register))
        self._outbox.clear()
        self._heard_s = asyncio.get_running_loop().time()
        tasks = [asyncio.create_task(each) for each in (self._read(call), self._write(call), self._listen())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()

    async def _read(self, call: grpc.aio.StreamStreamCall[wire.FromNode, wire.ToNode]) -> None:
        async for message in call:
            self._heard_s = asyncio.get_running_loop().time()
            match message.WhichOneof("message"):
                case "registered":
                    self._registered(message.registered)
                case "heard":
                    self._report_s = message.heard.report_s or self._report_s
                    self._start = message.heard.start or self._start
                case "move":
                    self._first(message.move.masters)
                    raise _MovedError("it asked this node to attach elsewhere")
                case "refused":
                    self._refused(message.refused)
                case _:
                    self._handle(message)

    def _registered(self, registered: wire.Registered) -> None:
        self.master = registered.master_id
        self._sessions += 1
        self.session = self._sessions
        self._known = list(registered.masters)
        self._queue = []
        self._report_s = registered.report_s or self._report_s
        self.report_soon()  # and from now on at this interval
        log.info("master_attached", master=self.master)

    def _first(self, masters: Iterable[str]) -> None:
        self._queue = list(dict.fromkeys(masters))

    def _refused(self, refused: wire.Refused) -> None:
        if refused.fenced:
            raise FencedError(refused.why)
        log.warning("master_refuses", reason=refused.why)
        raise _OverError(f"it refused this node: {refused.why}")

    async def _write(self, call: grpc.aio.StreamStreamCall[wire.FromNode, wire.ToNode]) -> None:
        loop = asyncio.get_running_loop()
        reported_s = loop.time()
        while True:
            try:
                async with asyncio.timeout_at(reported_s + self._report_s):
                    await self._news.wait()
            except TimeoutError:
                self._is_due = True
            await asyncio.sleep(TOGETHER_S)
            self._news.clear()
            while self._outbox:
                await call.write(self._outbox.pop(0))
            if self._is_due:
                self._is_due = False
                reported_s = loop.time()
                await call.write(wire.FromNode(report=self._report()))

    async def _listen(self) -> None:
        """Until nothing was heard for too long."""
        loop = asyncio.get_running_loop()
        while True:
            silent_s = max(SILENT_REPORTS * self._report_s, SILENT_S_MIN)
            left_s = self._heard_s + silent_s - loop.time()
            if left_s <= 0:
                raise _OverError(f"nothing heard from it for {silent_s:g} s")
            await asyncio.sleep(min(left_s, LISTEN_S_MAX))


async def _ready(channel: grpc.aio.Channel) -> None:
    """Until it is connected; gives up at the first refusal, where gRPC would try again and again."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise _OverError("nobody listens there")
        await channel.wait_for_state_change(state)
        state = channel.get_state()
