"""Many connections whose bytes become parcels: the machinery of sources over TCP and TLS.

One event loop, on a thread of its own, serves all of them. When the inlet has no room, no connection is read: the senders' own
sockets fill, and they wait. What a peer does or leaves undone costs nobody else anything: an event that never ends is cut at the
limit, a handshake that does not go on ends, and together the connections hold `HELD_BYTES_MAX` at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial

import structlog

from agent.live import listen
from agent.live.framing import Framer
from agent.live.loop import LoopThread
from qanat import limits
from qanat.component import Inlet, Parcel

log = structlog.get_logger(__name__)

# What is read from a connection at a time: large enough that a fast sender costs a call for a thousand events, small enough
# that others have their turn soon.
READ_BYTES_MAX = 256 * limits.KIB

# Connections of one source: hosts that each keep one open. Each costs some 10 KB, with TLS 100.
CONNECTIONS_MAX = 4096

# Events that are not complete, of all connections together: a few that send the largest ones, or thousands of small ones.
HELD_BYTES_MAX = 64 * limits.MIB

# What an object of Python takes beside its bytes: a million events of a byte are 50 MB.
OBJECT_BYTES = 48

# A TLS handshake takes milliseconds, or some seconds through a bad network; a scanner's never ends.
HANDSHAKE_S_MAX = 10.0

# What had arrived when the source was told to stop is read for so long. As a sender can't know, more would only be more.
LINGER_S = 0.2


class TcpServer:
    """`frames(peer)`: a framer for a new connection. `wrap(content, peer)`: what a parcel holds. `answer(content)`: what the peer
    is told once that is safe, if anything.

    *Thread*: all but the constructor's functions, which are called on the server's own."""

    def __init__(
        self,
        name: str,
        frames: Callable[[], Framer],
        wrap: Callable[[bytes | list[bytes], str], object],
        *,
        connections_max: int,
        count: Callable[[str, int], None],
        tls: ssl.SSLContext | None = None,
        answer: Callable[[bytes | list[bytes]], bytes] | None = None,
    ) -> None:
        self.frames = frames
        self.count = count
        self.connections: set[_Connection] = set()
        self.connections_max = connections_max
        self.held_bytes = 0
        self.buffer = memoryview(bytearray(READ_BYTES_MAX))
        self.is_full = False
        self._name = name
        self._wrap = wrap
        self._answer = answer
        self._tls = tls
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._thread: LoopThread | None = None
        self._inlet: Inlet | None = None
        self._refused: deque[Parcel] = deque()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._socket is not None, "port before open() or after close()"
        return int(self._socket.getsockname()[1])

    def open(self, host: str, port: int) -> None:
        """Raises ConfigError."""
        self._socket = listen.bind(self._name, socket.SOCK_STREAM, host, port)
        self._socket.setblocking(False)
        self.connections_max = listen.allow_descriptors(self.connections_max)

    def start(self, inlet: Inlet) -> None:
        """Accept connections."""
        assert self._socket is not None, "start() before open()"
        self._inlet = inlet
        self._thread = LoopThread(self._name)
        self._server = self._thread.run(self._listen(self._socket))

    def stop(self) -> None:
        """Accept and read no more; what was received is in the inlet."""
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

    async def _listen(self, listening: socket.socket) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            partial(_Connection, self),
            sock=listening,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_S_MAX if self._tls else None,
            backlog=listen.BACKLOG,
        )

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        if self.connections:
            self._go_on()
            await asyncio.sleep(LINGER_S)
        self._pause()
        for connection in list(self.connections):
            connection.finish()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.abort()
        if self.connections:  # their ends come with the next turn of the loop
            await asyncio.sleep(0)

    def received(self, connection: _Connection, content: bytes | list[bytes]) -> None:
        """Complete events of a connection."""
        if not content:
            return
        size_bytes = len(content)
        if not isinstance(content, bytes):
            size_bytes = sum(map(len, content)) + len(content) * OBJECT_BYTES
        settled = None
        if self._answer is not None and (reply := self._answer(content)):
            settled = partial(self._settled, connection, reply)
        parcel = Parcel(self._wrap(content, connection.peer), size_bytes, settled)
        assert self._inlet is not None
        if self._refused or not self._inlet.offer(parcel):
            self._refused.append(parcel)
            if not self.is_full:
                self.is_full = True
                self._pause()
                self._inlet.when_room(self._has_room)

    def _settled(self, connection: _Connection, reply: bytes, safe: bool) -> None:
        """On the feed's thread."""
        if safe and self._thread is not None:
            self._thread.post(connection.reply, reply)

    def _has_room(self) -> None:
        """On the feed's thread."""
        if self._thread is not None:
            self._thread.post(self._go_on)

    def _go_on(self) -> None:
        assert self._inlet is not None
        while self._refused:
            if not self._inlet.offer(self._refused[0]):
                self._inlet.when_room(self._has_room)
                return
            self._refused.popleft()
        if self.is_full:
            self.is_full = False
            for connection in self.connections:
                connection.resume()

    def _pause(self) -> None:
        for connection in self.connections:
            connection.pause()


class _Connection(asyncio.BufferedProtocol):
    """One peer."""

    def __init__(self, server: TcpServer) -> None:
        self._server = server
        self._framer = server.frames()
        self._transport: asyncio.Transport | None = None
        self._held_bytes = 0
        self._is_deaf = False  # the peer reads no answers, so it is not read either
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.peer = listen.peer_of(transport.get_extra_info("peername"))
        server = self._server
        server.connections.add(self)
        if len(server.connections) > server.connections_max:
            server.count("connections_refused", 1)
            transport.abort()
            return
        with contextlib.suppress(OSError):
            listen.keep_alive(transport.get_extra_info("socket"))
        if server.is_full:
            self.pause()

    def get_buffer(self, sizehint: int) -> memoryview:
        """One for all connections: what is read is taken out before another one is read."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        content = self._framer.feed(bytes(self._server.buffer[:nbytes]))
        self._account()
        self._server.received(self, content)
        if self._server.held_bytes > HELD_BYTES_MAX and self._held_bytes:
            self._server.count("connections_overfull", 1)
            log.warning(
                "connection_ended",
                peer=self.peer,
                held_bytes=self._held_bytes,
                why=f"events that are not complete take more than {HELD_BYTES_MAX} bytes; lower event_bytes",
            )
            self.finish()
            self.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish()
        self._server.connections.discard(self)
        self._transport = None

    def finish(self) -> None:
        """What is left is an event, too: nobody will say how it goes on."""
        content = self._framer.finish()
        self._account()
        self._server.received(self, content)

    def pause(self) -> None:
        """Read nothing."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and not self._is_deaf:
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._is_deaf = True
        self.pause()

    def resume_writing(self) -> None:
        self._is_deaf = False
        if not self._server.is_full:
            self.resume()

    def reply(self, data: bytes) -> None:
        """To the peer, if it is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def abort(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()

    def _account(self) -> None:
        now_bytes = self._framer.held_bytes
        self._server.held_bytes += now_bytes - self._held_bytes
        self._held_bytes = now_bytes
