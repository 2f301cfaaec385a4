"""What live sources have in common that are a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.component import Inlet, LiveSource

if TYPE_CHECKING:
    from agent.live.server import Server
    from agent.live.udp import UdpServer


class ServedSource(LiveSource):
    """`open` makes the server, and opens it."""

    _server: Server | UdpServer | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "port before open()"
        return self._server.port

    def start(self, inlet: Inlet) -> None:
        assert self._server is not None, "start() before open()"
        self._server.start(inlet)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
