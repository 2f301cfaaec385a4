"""A loopback TCP proxy with what networks do as verbs."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator

from qanat.testing.cluster import LOOPBACK

_BLOCK = 64 << 10


class TcpProxy:
    """Forwards `address` to a port of this machine. One thread; the verbs may be called from any other.

    `cut()` resets every connection; `refuse` closes new ones at once; `stall` moves no byte in either direction, and
    `stall_replies` none from the server: what it says (acks) is delayed until the flag is cleared, or lost by a cut.
    """

    def __init__(self, target_port: int) -> None:
        self.refuse = self.stall = self.stall_replies = False
        self.forwarded_bytes = 0
        self._target_port = target_port
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._cut = self._end = False
        self._listener = socket.create_server((LOOPBACK, 0))
        self._thread = threading.Thread(target=self._run, name="tcp-proxy")

    @property
    def address(self) -> str:
        """Where to connect to."""
        return f"{LOOPBACK}:{self._listener.getsockname()[1]}"

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return 0 if self._end else len(self._clients) + self._cut

    def cut(self) -> None:
        """Reset every connection; what is on its way is lost."""
        self._cut = True

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def close(self) -> None:
        """Cut everything and end the thread."""
        self._end = True
        self._thread.join()

    def _run(self) -> None:
        with self._listener, selectors.DefaultSelector() as selector:
            self._listener.setblocking(False)
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._end:
                if self._cut:
                    self._reset_all(selector)
                moved = False
                for key, _ in selector.select(0.01):
                    moved |= self._ready(selector, key.fileobj)  # type: ignore[arg-type]
                if not moved and (self.stall or self.stall_replies):
                    threading.Event().wait(0.005)  # readable sockets that are not to be read would spin
            self._reset_all(selector)

    def _ready(self, selector: selectors.BaseSelector, ready: socket.socket) -> bool:
        if ready is self._listener:
            self._accept(selector)
            return True
        if self.stall or (self.stall_replies and ready not in self._clients) or ready not in self._pairs:
            return False
        try:
            data = ready.recv(_BLOCK)
            if data:
                self._pairs[ready].sendall(data)
                self.forwarded_bytes += len(data)
                return True
        except OSError:
            pass
        self._reset(selector, ready)
        return True

    def _accept(self, selector: selectors.BaseSelector) -> None:
        client, _ = self._listener.accept()
        try:
            if self.refuse:
                raise ConnectionRefusedError
            server = socket.create_connection((LOOPBACK, self._target_port))
        except OSError:
            client.close()
            return
        self._clients.add(client)
        self._pairs |= {client: server, server: client}
        for each in (client, server):
            selector.register(each, selectors.EVENT_READ)

    def _reset_all(self, selector: selectors.BaseSelector) -> None:
        self._cut = False
        for each in list(self._clients):
            self._reset(selector, each)

    def _reset(self, selector: selectors.BaseSelector, one: socket.socket) -> None:
        other = self._pairs.pop(one, None)
        if other is None:
            return
        del self._pairs[other]
        for each in (one, other):
            self._clients.discard(each)
            selector.unregister(each)
            with contextlib.suppress(OSError):
                # Linger 0: a reset, as from a firewall that forgot the connection.
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            each.close()


@contextlib.contextmanager
def proxied(target_port: int) -> Iterator[TcpProxy]:
    """A proxy that forwards until the block ends."""
    proxy = TcpProxy(target_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()
