"""Servers of TCP and TLS for live sources: what they have in common, whatever their peers speak.

One event loop, on a thread of its own, serves all connections of a source. When the inlet has no room, no connection is read: the
senders' own sockets fill, and they wait.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

import structlog

from agent.live import listen
from agent.live.loop import LoopThread
from qanat import limits
from qanat.component import Inlet

log = structlog.get_logger(__name__)

# Connections of one source: hosts that each keep one open. Each costs some 10 KB, with TLS 100.
CONNECTIONS_MAX = 4096

# Events and requests that are not complete, of all connections together: a few that send the largest ones, or thousands of small
# ones.
HELD_BYTES_MAX = 64 * limits.MIB

# What an object of Python takes beside its bytes: a million events of a byte are 50 MB.
OBJECT_BYTES = 48

# A TLS handshake takes milliseconds, or some seconds through a bad network; a scanner's never ends.
HANDSHAKE_S_MAX = 10.0


class Server(abc.ABC):
    """An address that is taken first, and served later.

    *Thread*: public methods belong to one that is not the server's; the others run on the loop. `count`: of the source's context.
    """

    def __init__(
        self,
        name: str,
        *,
        connections_max: int,
        count: Callable[[str, int], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.count = count
        self.connections_max = connections_max
        self._tls = tls
        self._socket: socket.socket | None = None
        self._listening: asyncio.Server | None = None
        self._thread: LoopThread | None = None
        self._inlet: Inlet | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._socket is not None, "port before open() or after close()"
        return int(self._socket.getsockname()[1])

    def open(self, host: str, port: int) -> None:
        """Take the address; nobody is answered yet. Raises ConfigError."""
        self._socket = listen.bind(self.name, socket.SOCK_STREAM, host, port)
        self.connections_max = listen.allow_descriptors(self.connections_max)

    def start(self, inlet: Inlet) -> None:
        """Accept connections."""
        assert self._socket is not None, "start() before open()"
        self._inlet = inlet
        self._thread = LoopThread(self.name)
        self._thread.run(self._listen(self._socket))

    def stop(self) -> None:
        """Accept no more, and take no more in; peers can still be answered."""
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

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Call on the loop, soon; nothing once it is closed. *Thread*: any."""
        if (thread := self._thread) is not None:
            thread.post(call, *args)

    @property
    def inlet(self) -> Inlet:
        """Since `start`."""
        assert self._inlet is not None, "inlet before start()"
        return self._inlet

    @abc.abstractmethod
    def _protocol(self) -> asyncio.BaseProtocol:
        """For a new connection."""

    async def _listen(self, listening: socket.socket) -> None:
        self._listening = await asyncio.get_running_loop().create_server(
            self._protocol,
            sock=listening,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_S_MAX if self._tls else None,
            backlog=listen.BACKLOG,
        )

    async def _stop(self) -> None:
        if self._listening is not None:
            self._listening.close()

    @abc.abstractmethod
    async def _close(self) -> None:
        """End all connections."""


class PausingServer(Server):
    """A server whose connections are read only while the inlet has room. All but `stop` and `close` is the loop's."""

    def __init__(
        self,
        name: str,
        *,
        connections_max: int,
        count: Callable[[str, int], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(name, connections_max=connections_max, count=count, tls=tls)
        self.connections: set[Connection] = set()
        self.held_bytes = 0  # of what is not complete
        self.is_full = False

    @abc.abstractmethod
    def _offer_refused(self) -> bool:
        """Offer the inlet what it had no room for; whether it has taken all of it."""

    def fill(self) -> None:
        """The inlet has no room."""
        if not self.is_full:
            self.is_full = True
            self._pause()
            self.inlet.when_room(self._has_room)

    def _has_room(self) -> None:
        """On the feed's thread."""
        self.post(self._go_on)

    def _go_on(self) -> None:
        if not self._offer_refused():
            self.inlet.when_room(self._has_room)
            return
        if self.is_full:
            self.is_full = False
            for connection in list(self.connections):
                connection.resume()

    def _pause(self) -> None:
        for connection in self.connections:
            connection.pause()

    async def _close(self) -> None:
        for connection in list(self.connections):
            connection.close()
        if self.connections:  # their ends come with the next turn of the loop
            await asyncio.sleep(0)


class Connection(asyncio.BaseProtocol):
    """One peer. What it sends is a subclass's business, which says what it holds of it."""

    _server: PausingServer

    def __init__(self, server: PausingServer) -> None:
        self._server = server
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

    def connection_lost(self, exc: Exception | None) -> None:
        self.hold(0)
        self._server.connections.discard(self)
        self._transport = None

    def hold(self, size_bytes: int) -> None:
        """So much of what it has sent is not complete."""
        self._server.held_bytes += size_bytes - self._held_bytes
        self._held_bytes = size_bytes

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

    def write(self, data: bytes) -> None:
        """To the peer, if it is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def end(self, counter: str, why: str) -> None:
        """It can't go on: count it, say why, and close it at once."""
        self._server.count(counter, 1)
        log.warning(
            "connection_ended",
            source=self._server.name,
            peer=self.peer,
            held_bytes=self._held_bytes,
            why=why,
        )
        self.abort()

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End it."""
        self.abort()
