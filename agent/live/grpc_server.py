"""A server of gRPC for live sources: on an event loop and thread of its own, bound before it serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from agent.live import tls
from agent.live.arguments import Encrypted
from agent.live.loop import LoopThread
from qanat.errors import ConfigError

# Answers that are being written when the source closes.
CLOSE_S_MAX = 0.5

# Peers that are gone without a word are found out by pings.
_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]


class GrpcServer:
    """*Thread*: one that is not the server's. Life: constructor, `bind`, `start`, `stop`."""

    def __init__(self, name: str) -> None:
        self.thread = LoopThread(name)
        self.port = 0
        self._name = name
        self._server: Any = None

    def bind(
        self,
        handlers: Any,
        host: str,
        port: int,
        *,
        connections_max: int,
        message_bytes_max: int,
        credentials: Any,
    ) -> None:
        """Take the address; nobody is answered yet. Raises ConfigError."""
        self.thread.run(self._bind(handlers, host, port, connections_max, message_bytes_max, credentials))

    def start(self) -> None:
        """Serve."""
        self.thread.run(self._server.start())

    def stop(self) -> None:
        """End calls, and the thread. Idempotent."""
        if self._server is not None:
            self.thread.run(self._server.stop(CLOSE_S_MAX))
            self._server = None
        self.thread.close()

    async def _bind(
        self,
        handlers: Any,
        host: str,
        port: int,
        connections_max: int,
        message_bytes_max: int,
        credentials: Any,
    ) -> None:
        options = [*_OPTIONS, ("grpc.max_receive_message_length", message_bytes_max)]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=connections_max)
        server.add_generic_rpc_handlers((handlers,))
        address = f"{f'[{host}]' if ':' in host else host or '[::]'}:{port}"
        try:
            if credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise ConfigError(
                f"{self._name} can't listen on {address}: {error}; `ss -lnp` says who does."
            ) from error
        self._server = server


def credentials(what: str, arguments: Encrypted) -> Any:
    """None without a certificate. *Blocking*: reads files. Raises ConfigError."""
    # gRPC would not say what is wrong with them.
    if tls.server_context(what, arguments) is None:
        return None
    chain = Path(arguments.certificate).read_bytes()
    private = Path(arguments.key or arguments.certificate).read_bytes()
    roots = Path(arguments.ca).read_bytes() if arguments.clients != "none" else None
    return grpc.ssl_server_credentials([(private, chain)], roots, arguments.clients == "required")
