"""Many connections that speak Avro's Netty transport: one event loop on a thread of its own.

A request is answered when all of its events are safe in the channel. While the inlet has no room nothing is read from any
connection; a request that waits for longer than `wait_s` is answered FAILED if it was not taken, and UNKNOWN if it was. A peer
that sends what is no request is told nothing and loses its connection; those of others go on.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from agent.avro.frames import Frame, FrameReader, encoded
from agent.avro.protocol import Call, Reply, Session, Status
from agent.live.server import HELD_BYTES_MAX, Connection, PausingServer
from qanat import limits
from qanat.component import Parcel
from qanat.errors import CorruptError

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


class AvroServer(PausingServer):
    """See Server."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            "avro", connections_max=settings.connections_max, count=settings.count, tls=settings.tls
        )
        self.settings = settings
        self._refused: deque[tuple[_Waiting, Parcel]] = deque()
        self._taken: dict[_Waiting, None] = {}  # in the order of their times

    def called(self, connection: _Connection, serial: int, call: Call) -> None:
        """A request with events."""
        now_s = asyncio.get_running_loop().time()
        waiting = _Waiting(connection, serial, call, now_s + self.settings.wait_s)
        received = call.received
        if not len(received.bodies):
            waiting.answer(Status.OK)
            return
        held_bytes = received.bodies.nbytes + sum(each.nbytes for each in received.headers.values())
        size_bytes = max(received.size_bytes, held_bytes)
        parcel = Parcel(received, size_bytes, partial(self._settled, waiting))
        if self._refused or not self.inlet.offer(parcel):
            self._refused.append((waiting, parcel))
            self.fill()
        else:
            self._taken[waiting] = None

    def _protocol(self) -> _Connection:
        return _Connection(self)

    async def _listen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().call_later(OVERDUE_S, self._look)
        await super()._listen(listening)

    async def _stop(self) -> None:
        """What has no answer and was not taken never will be."""
        await super()._stop()
        self.is_full = True
        self._pause()
        while self._refused:
            self._refused.popleft()[0].answer(Status.FAILED)

    async def _close(self) -> None:
        await self._stop()
        await super()._close()

    def _settled(self, waiting: _Waiting, safe: bool) -> None:
        """On the feed's thread."""
        self.post(self._answer, waiting, Status.OK if safe else Status.FAILED)

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

    def _offer_refused(self) -> bool:
        while self._refused and self.inlet.offer(self._refused[0][1]):
            self._taken[self._refused.popleft()[0]] = None
        return not self._refused


class _Connection(Connection, asyncio.Protocol):
    """One client."""

    _server: AvroServer

    def __init__(self, server: AvroServer) -> None:
        super().__init__(server)
        self._frames = FrameReader()
        self._session = Session()
        self._packed = b""  # received, not unpacked
        self._is_due = False  # to go on soon
        self._compression = server.settings.compression
        self._unpack: zlib._Decompress | None = None
        self._pack: zlib._Compress | None = None

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
            self.end("connections_corrupt", str(error))
            return
        self._account()
        if self._packed:
            self.pause()
            if not self._server.is_full:
                self.resume()
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
        self.hold(now_bytes)
        if server.held_bytes > HELD_BYTES_MAX and now_bytes and not server.is_full:
            self.end(
                "connections_overfull", f"requests that are not complete take more than {HELD_BYTES_MAX}"
            )

    def resume(self) -> None:
        """Go on with what was received, then read again."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._work)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._frames, self._packed = FrameReader(), b""

    def reply(self, frame: Frame) -> None:
        """To the client, if it is still there."""
        data = encoded(frame)
        if self._pack is not None:
            data = self._pack.compress(data) + self._pack.flush(zlib.Z_SYNC_FLUSH)
        self.write(data)

    def close(self) -> None:
        """End it, when it was told everything, or can't be."""
        if self._transport is not None:
            self._transport.close() if not self._is_deaf else self._transport.abort()
