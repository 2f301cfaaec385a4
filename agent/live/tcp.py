"""Many connections whose bytes become parcels: the machinery of sources over TCP and TLS.

What a peer does or leaves undone costs nobody else anything: an event that never ends is cut at the limit, a handshake that does
not go on ends, and together the connections hold `HELD_BYTES_MAX` at most.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial

from agent.live.framing import Framer
from agent.live.server import HELD_BYTES_MAX, OBJECT_BYTES, Connection, PausingServer
from qanat import limits
from qanat.component import Parcel

# What is read from a connection at a time: large enough that a fast sender costs a call for a thousand events, small enough
# that others have their turn soon.
READ_BYTES_MAX = 256 * limits.KIB

# What had arrived when the source was told to stop is read for so long. As a sender can't know, more would only be more.
LINGER_S = 0.2


class TcpServer(PausingServer):
    """`frames()`: a framer for a new connection. `wrap(content, peer)`: what a parcel holds. `answer(content)`: what the peer
    is told once that is safe, if anything. They are called on the server's own thread."""

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
        super().__init__(name, connections_max=connections_max, count=count, tls=tls)
        self.frames = frames
        self.buffer = memoryview(bytearray(READ_BYTES_MAX))
        self._wrap = wrap
        self._answer = answer
        self._refused: deque[Parcel] = deque()

    def received(self, connection: _Connection, content: bytes | list[bytes]) -> None:
        """Complete events of a connection."""
        if not content:
            return
        size_bytes = len(content)
        if not isinstance(content, bytes):
            size_bytes = sum(map(len, content)) + len(content) * OBJECT_BYTES
        settled = None
        if self._answer is not None and (reply := self._answer(content)):
            connection.unanswered += 1
            settled = partial(self._settled, connection, reply)
        parcel = Parcel(self._wrap(content, connection.peer), size_bytes, settled)
        if self._refused or not self.inlet.offer(parcel):
            self._refused.append(parcel)
            self.fill()

    def _protocol(self) -> _Connection:
        return _Connection(self)

    async def _stop(self) -> None:
        """What had arrived is in the inlet then."""
        await super()._stop()
        if self.connections:
            self._go_on()
            await asyncio.sleep(LINGER_S)
        self._pause()
        for connection in list(self.connections):
            assert isinstance(connection, _Connection)
            connection.finish()

    def _settled(self, connection: _Connection, reply: bytes, safe: bool) -> None:
        """On the feed's thread."""
        self.post(connection.answer, reply if safe else b"")

    def _offer_refused(self) -> bool:
        while self._refused and self.inlet.offer(self._refused[0]):
            self._refused.popleft()
        return not self._refused


class _Connection(Connection, asyncio.BufferedProtocol):
    """One peer."""

    _server: TcpServer

    def __init__(self, server: TcpServer) -> None:
        super().__init__(server)
        self._framer = server.frames()
        self._is_ended = False  # the peer says no more, and may still listen
        self.unanswered = 0  # parcels

    def get_buffer(self, sizehint: int) -> memoryview:
        """One for all connections: what is read is taken out before another one is read."""
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        content = self._framer.feed(bytes(self._server.buffer[:nbytes]))
        self.hold(self._framer.held_bytes)
        self._server.received(self, content)
        if self._server.held_bytes > HELD_BYTES_MAX and self._held_bytes:
            self.end(
                "connections_overfull",
                f"events that are not complete take more than {HELD_BYTES_MAX} bytes; lower event_bytes",
            )
            self.finish()

    def eof_received(self) -> bool:
        """A peer that has said all (`nc -N`) still wants its answers: True keeps the connection until it has them."""
        self._is_ended = True
        self.finish()
        return self.unanswered > 0

    def answer(self, reply: bytes) -> None:
        """A parcel is settled: tell the peer, unless it is not safe, which nobody has words for."""
        self.unanswered -= 1
        if reply:
            self.write(reply)
        if self._is_ended and not self.unanswered and self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.finish()
        super().connection_lost(exc)

    def finish(self) -> None:
        """What is left is an event, too: nobody will say how it goes on."""
        content = self._framer.finish()
        self.hold(self._framer.held_bytes)
        self._server.received(self, content)
