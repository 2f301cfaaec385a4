"""One attempt to talk to one collector: a gRPC stream, its reader and its writer."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import grpc

from qanat.delivery import sender_messages as m
from qanat.rpc import options
from qanat.rpc.options import DELIVER, channel_options
from qanat.wire.v1 import delivery_pb2 as wire

CONNECT_S_MAX = 5.0  # a collector that does not accept a connection by then is as good as dead
WELCOME_S_MAX = 30.0  # a claim takes a few round trips to the store, and longer while a store server is away

# Data messages that wait for the transport: one in gRPC's hands, one ready. More would only cost memory.
OUTBOX_BATCHES_MAX = 2


class _SilenceError(Exception):
    """The collector is deaf."""


class Connection:
    """Connects, then turns what the collector says into events; ends with exactly one Disconnected.

    `handle(event)` and `on_room()` (another batch may be sent) are called on the event loop.
    *Thread*: the event loop.
    """

    def __init__(
        self, number: int, destination: str, handle: Callable[[m.Event], None], on_room: Callable[[], None]
    ) -> None:
        self.number = number
        self._on_room = on_room
        self._destination = destination
        self._handle = handle
        self._outbox: deque[tuple[bytes, bool]] = deque()
        self._ready = asyncio.Event()
        self._batches = 0
        self._awaited = "connection"
        self._welcomed = asyncio.Event()
        self._released = asyncio.Event()
        self._messages = 0  # received
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def has_room(self) -> bool:
        """A batch may be sent without piling up behind others."""
        return self._batches < OUTBOX_BATCHES_MAX

    def send(self, message: wire.ToCollector) -> None:
        """Queue a control message."""
        self._outbox.append((message.SerializeToString(), False))
        self._ready.set()

    def send_batch(self, data: bytes) -> None:
        """Queue a serialised message with a batch."""
        self._batches += 1
        self._outbox.append((data, True))
        self._ready.set()

    async def release(self, seconds_max: float) -> None:
        """Give the claim up, so that whoever has it next need not fence the collector; for when all that was sent is acked.
        Nothing more is handled. That no answer comes does no harm."""
        self._handle = lambda event: None
        self.send(wire.ToCollector(release=wire.Release()))
        released = asyncio.ensure_future(self._released.wait())
        try:
            await asyncio.wait(
                (released, self._task), timeout=seconds_max, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            released.cancel()

    async def close(self) -> None:
        """End the connection now; idempotent."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        reason = "closed by the collector"
        try:
            async with grpc.aio.insecure_channel(self._destination, options=channel_options()) as channel:
                await asyncio.wait_for(channel.channel_ready(), CONNECT_S_MAX)
                await self._converse(channel.stream_stream(DELIVER)())
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
        except asyncio.InvalidStateError:
            reason = "the connection ended while a message was being written"
        except _SilenceError:
            reason = f"nothing heard from it for {options.SILENT_BEATS_MAX * options.HEARTBEAT_S:g} s"
        except TimeoutError:
            reason = f"no {self._awaited} in time"
        self._handle(m.Disconnected(self.number, reason))

    async def _converse(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        self._awaited = "welcome"
        self._handle(m.Connected(self.number))
        tasks = [
            asyncio.create_task(self._read(call)),
            asyncio.create_task(self._write(call)),
            asyncio.create_task(self._expect_welcome()),
            asyncio.create_task(self._expect_heartbeats()),
        ]
        try:
            # The deadline's task ends in silence once the welcome is there; reader and writer end with the connection.
            pending = set(tasks)
            while tasks[0] in pending and tasks[1] in pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()

    async def _expect_welcome(self) -> None:
        await asyncio.wait_for(self._welcomed.wait(), WELCOME_S_MAX)

    async def _expect_heartbeats(self) -> None:
        """Counts beats instead of seconds: after a pause of this process what arrived meanwhile is heard first."""
        silent_beats = 0
        while silent_beats < options.SILENT_BEATS_MAX:
            before = self._messages
            await asyncio.sleep(options.HEARTBEAT_S)
            silent_beats = 0 if self._messages > before else silent_beats + 1
        raise _SilenceError

    async def _read(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        async for data in call:
            self._messages += 1
            event = self._event(wire.ToAgent.FromString(data))
            if event is not None:
                self._handle(event)

    def _event(self, message: wire.ToAgent) -> m.Event | None:
        number = self.number
        match message.WhichOneof("message"):
            case "ack" if message.ack.positions:  # else a sign of life
                return m.Acked(number, dict(message.ack.positions))
            case "rewind":
                return m.Rewound(number, dict(message.rewind.positions))
            case "opened":
                return m.OpenedAt(number, dict(message.opened.positions))
            case "welcome":
                self._welcomed.set()
                welcome = message.welcome
                return m.Welcomed(
                    number, welcome.instance_epoch, dict(welcome.committed), welcome.window_bytes
                )
            case "fenced":
                return m.FencedOff(number, message.fenced.instance_epoch, message.fenced.instance)
            case "released":
                self._released.set()
                return m.ReleaseDone(number)
        return None  # from a newer collector: nothing that this version has to know

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._outbox:
                data, is_batch = self._outbox.popleft()
                await call.write(data)
                del data
                if is_batch:
                    self._batches -= 1
                    self._on_room()


async def answers(destination: str) -> bool:
    """Whether a collector accepts a connection there, soon."""
    async with grpc.aio.insecure_channel(destination, options=channel_options()) as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), 1.0)
        except TimeoutError:
            return False
        return True
