"""Many connections that speak Avro's Netty transport: one event loop on a thread of its own.

A request is answered when all of its events are safe in the channel. While the inlet has no room nothing is read from any
connection; a request that waits for longer than `wait_s` is answered FAILED if it was not taken, and UNKNOWN if it was. A peer
that sends what is no request is told nothing and loses its connection; those of others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from agent.avro.frames import Frame, FrameReader, encoded
from agent.avro.protocol import Call, Reply, Session, Status
from agent.live import listen
from agent.live.loop import LoopThread
from agent.live.tcp import HANDSHAKE_S_MAX, HELD_BYTES_MAX, OBJECT_BYTES
from qanat import limits
from qanat.component import Inlet, Parcel
from qanat.errors import CorruptError

log = structlog.get_logger(__name__)

Compression = Literal["auto", "none", "deflate"]

# What is unpacked at a time: a small input may have any output.
UNPACKED_BYTES_MAX = 256 * limits.KIB

# Both directions flush after each message. NG's client asks for 6; answers are some bytes, so 1 will do.
LEVEL = 1

# How often requests that wait are looked at.
OVERDUE_S = 0.25

# The first byte of zlib's format (RFC 1950); a serial number that begins with it would be the two thousand millionth.
ZLIB = 0x78


@dataclass(frozen=True, slots=True)
class Settings:
    """`wait_s`: the longest without an answer."""

    compression: Compression
    connections_max: int
    wait_s: float
    count: Callable[[str, int], None]
    tls: ssl.SSLContext | None = None


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request that has no answer yet."""

    connection: _Connection
    serial: int
    call: Call
    until_s: float
    is_answered: bool = False

    def answer(self, status: Status) -> None:
        if not self.is_answered:
            self.is_answered = True
            self.connection.reply(Frame(self.serial, self.call.answer(status)))


class AvroServer:
    """*Thread*: `open`, `start`, `stop`, `close` of the source; the rest on the loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connections: set[_Connection] = set()
        self.held_bytes = 0
        self.is_full = False
        self._connections_max = settings.connections_max
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._thread: LoopThread | None = None
        self._inlet: Inlet | None = None
        self._refused: deque[tuple[_Waiting, Parcel]] = deque()
        self._taken: dict[_Waiting, None] = {}  # in the order of their times

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._socket is not None, "port before open() or after close()"
        return int(self._socket.getsockname()[1])

    def open(self, host: str, port: int) -> None:
        """Raises ConfigError."""
        self._socket = listen.bind("avro", socket.SOCK_STREAM, host, port)
        self._socket.setblocking(False)
        self._connections_max = listen.allow_descriptors(self.settings.connections_max)

    def start(self, inlet: Inlet) -> None:
        """Accept connections."""
        assert self._socket is not None, "start() before open()"
        self._inlet = inlet
        self._thread = LoopThread("avro")
        self._server = self._thread.run(self._listen(self._socket))

    def stop(self) -> None:
        """Accept and read no more. What has no answer and was not taken never will be."""
        if self._thread is not None:
            self._thread.run(self._stop())

    def close(self) -> None:
        """End all connections. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.run(self._close())
            thread.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # On the loop.

    def is_crowded(self) -> bool:
        """One connection more than there may be."""
        return len(self.connections) > self._connections_max

    def called(self, connection: _Connection, serial: int, call: Call) -> None:
        """A request with events."""
        now_s = asyncio.get_running_loop().time()
        waiting = _Waiting(connection, serial, call, now_s + self.settings.wait_s)
        received = call.received
        if not received.bodies:
            waiting.answer(Status.OK)
            return
        held = sum(map(len, received.headers.values())) + len(received.bodies)
        size_bytes = received.size_bytes + held * OBJECT_BYTES
        parcel = Parcel(received, size_bytes, partial(self._settled, waiting))
        assert self._inlet is not None
        if self._refused or not self._inlet.offer(parcel):
            self._refused.append((waiting, parcel))
            self._fill()
        else:
            self._taken[waiting] = None

    async def _listen(self, listening: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        loop.call_later(OVERDUE_S, self._look)
        return await loop.create_server(
            partial(_Connection, self),
            sock=listening,
            ssl=self.settings.tls,
            ssl_handshake_timeout=HANDSHAKE_S_MAX if self.settings.tls else None,
            backlog=listen.BACKLOG,
        )

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.is_full = True
        for connection in self.connections:
            connection.pause()
        while self._refused:
            self._refused.popleft()[0].answer(Status.FAILED)

    async def _close(self) -> None:
        await self._stop()
        for connection in list(self.connections):
            connection.close()
        if self.connections:  # their ends come with the next turn of the loop
            await asyncio.sleep(0)

    def _settled(self, waiting: _Waiting, safe: bool) -> None:
        """On the feed's thread."""
        if self._thread is not None:
            self._thread.post(self._answer, waiting, Status.OK if safe else Status.FAILED)

    def _answer(self, waiting: _Waiting, status: Status) -> None:
        self._taken.pop(waiting, None)
        waiting.answer(status)

    def _look(self) -> None:
        """For requests that have waited for too long."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        while self._refused and self._refused[0][0].until_s <= now_s:
            self._refused.popleft()[0].answer(Status.FAILED)
            self.settings.count("requests_refused", 1)
        while self._taken and (first := next(iter(self._taken))).until_s <= now_s:
            self._answer(first, Status.UNKNOWN)
            self.settings.count("requests_overdue", 1)
        loop.call_later(OVERDUE_S, self._look)

    def _fill(self) -> None:
        assert self._inlet is not None
        if not self.is_full:
            self.is_full = True
            for connection in self.connections:
                connection.pause()
            self._inlet.when_room(self._has_room)

    def _has_room(self) -> None:
        """On the feed's thread."""
        if self._thread is not None:
            self._thread.post(self._go_on)

    def _go_on(self) -> None:
        assert self._inlet is not None
        while self._refused:
            waiting, parcel = self._refused[0]
            if not self._inlet.offer(parcel):
                self._inlet.when_room(self._has_room)
                return
            self._refused.popleft()
            self._taken[waiting] = None
        self.is_full = False
        for connection in list(self.connections):
            connection.go_on()


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: AvroServer) -> None:
        self._server = server
        self._frames = FrameReader()
        self._session = Session()
        self._transport: asyncio.Transport | None = None
        self._packed = b""  # received, not unpacked
        self._held_bytes = 0
        self._is_deaf = False
        self._is_due = False  # to go on soon
        self._compression = server.settings.compression
        self._unpack: zlib._Decompress | None = None
        self._pack: zlib._Compress | None = None
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peer = listen.peer_of(transport.get_extra_info("peername"))
        self._server.connections.add(self)
        if self._server.is_crowded():
            self._server.settings.count("connections_refused", 1)
            transport.abort()
            return
        with contextlib.suppress(OSError):
            listen.keep_alive(transport.get_extra_info("socket"))
        if self._server.is_full:
            self.pause()

    def data_received(self, data: bytes) -> None:
        if self._compression == "auto":
            self._compression = "deflate" if data[0] == ZLIB else "none"
        if self._compression == "deflate" and self._unpack is None:
            self._unpack, self._pack = zlib.decompressobj(), zlib.compressobj(LEVEL)
        self._packed += data
        self._work()

    def _work(self) -> None:
        """One step of what was received, then others have their turn."""
        self._is_due = False
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._handle_frames()
            if not self._server.is_full:
                self._unpack_some()
                self._handle_frames()
        except (CorruptError, zlib.error) as error:
            self._end("connections_corrupt", str(error))
            return
        self._account()
        if self._packed:
            self.pause()
            if not self._server.is_full:
                self._soon()
        elif not self._is_deaf and not self._server.is_full:
            self._transport.resume_reading()

    def _handle_frames(self) -> None:
        while not self._server.is_full and (frame := self._frames.take()) is not None:
            found = self._session.handle(frame.data)
            if isinstance(found, Reply):
                self.reply(Frame(frame.serial, found.data))
            else:
                self._server.called(self, frame.serial, found)

    def _unpack_some(self) -> None:
        if self._unpack is None:
            self._frames.feed(self._packed)
            self._packed = b""
            return
        if self._packed or self._unpack.unconsumed_tail:
            self._frames.feed(self._unpack.decompress(self._packed, UNPACKED_BYTES_MAX))
            self._packed = self._unpack.unconsumed_tail
        if self._unpack.eof:
            raise CorruptError("the compressed stream has an end")

    def _account(self) -> None:
        server, now_bytes = self._server, self._frames.held_bytes + len(self._packed)
        server.held_bytes += now_bytes - self._held_bytes
        self._held_bytes = now_bytes
        if server.held_bytes > HELD_BYTES_MAX and now_bytes and not server.is_full:
            self._end(
                "connections_overfull", f"requests that are not complete take more than {HELD_BYTES_MAX}"
            )

    def _end(self, counter: str, why: str) -> None:
        self._server.settings.count(counter, 1)
        log.warning("connection_ended", source="avro", peer=self._peer, why=why)
        if self._transport is not None:
            self._transport.abort()

    def _soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._work)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.held_bytes -= self._held_bytes
        self._held_bytes = 0
        self._frames, self._packed = FrameReader(), b""
        self._server.connections.discard(self)
        self._transport = None

    def pause(self) -> None:
        """Read nothing."""
        if self._transport is not None:
            self._transport.pause_reading()

    def go_on(self) -> None:
        """There is room again."""
        self._soon()

    def pause_writing(self) -> None:
        self._is_deaf = True
        self.pause()

    def resume_writing(self) -> None:
        self._is_deaf = False
        self._soon()

    def reply(self, frame: Frame) -> None:
        """To the client, if it is still there."""
        if self._transport is None or self._transport.is_closing():
            return
        data = encoded(frame)
        if self._pack is not None:
            data = self._pack.compress(data) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        self._transport.write(data)

    def close(self) -> None:
        """End it, when it was told everything, or can't be."""
        if self._transport is not None:
            self._transport.close() if not self._is_deaf else self._transport.abort()
