"""`grpc(4141)`: events of programs that number them, through the service Publish, as the Python client `qanat.client` does.

Guarantee: what was acknowledged is in the channel, in the order of its producer, as safe as the channel makes it. A producer that
repeats what was not acknowledged, after whatever broke, has it taken exactly once: the channel remembers how far it has each
producer's events together with the events. When the channel is full producers are not read, and wait. `memoryChannel` and
`spillChannel` forget with the agent's process; then what is repeated may be stored twice.

    apps : grpc(4141) | agentE2EChain("c1", "c2") ;

The contract is `proto/qanat/v1/publish.proto`; the client has [a page of its own](../client.md). A producer that ends
says so, and is forgotten; one that was not seen for `remember` is too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.live.arguments import Encrypted, Port
from qanat.component import Context, Inlet, LiveSource, Wrong
from qanat.config import Seconds

if TYPE_CHECKING:
    from agent.live.grpc_server import GrpcServer
    from agent.published.producers import Producers
    from agent.published.service import PublishService

SEEN = "producers.json"

# How often it is noted who was there, and looked for who was not: a fraction of what is remembered.
NOTE_S = 3600.0

_DAY_S = 86_400  # of 24 hours


class _Options(Encrypted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    remember: Seconds = 7.0 * _DAY_S  # a producer that is away, and didn't end


class GrpcConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `grpc(...)` accepts."""

    port: Port = 4141  # 0: any that is free


class _Seen(msgspec.Struct):
    """`at_ns`: when this was noted, by which ages are measured: while the agent is away nobody can be seen."""

    at_ns: int = 0
    producers: dict[str, int] = {}


class Grpc(LiveSource):
    """Parcels hold `Events`, in streams of producers."""

    name: ClassVar[str] = "grpc"
    Config: ClassVar[type[msgspec.Struct]] = GrpcConfig

    def __init__(self, config: GrpcConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._server: GrpcServer | None = None
        self._service: PublishService | None = None
        self._producers: Producers | None = None
        self._noted_s = 0.0

    @classmethod
    def check(cls, config: GrpcConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from config.wrong()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "port before open()"
        return self._server.port

    def open(self) -> None:
        """Raises ConfigError."""
        from agent.live.grpc_server import GrpcServer, credentials
        from agent.published.producers import Producers
        from agent.published.service import MESSAGE_BYTES_MAX, PublishService

        config = self._config
        secure = credentials(self.name, config)
        self._server = GrpcServer(self.name)
        self._producers = Producers()
        self._service = PublishService(
            self._producers,
            self._server.thread,
            self.context.clock,
            self.context.count,
            {"host": self.context.host},
        )
        self._server.bind(
            self._service.handler(),
            config.host,
            config.port,
            connections_max=config.connections,
            message_bytes_max=MESSAGE_BYTES_MAX,
            credentials=secure,
        )

    def recover(self, known: Mapping[str, int]) -> Iterable[str]:
        """See LiveSource.recover."""
        assert self._producers is not None, "recover() before open()"
        seen, now_ns = self._seen(), self.context.clock.wall_ns()
        return self._producers.recover(known, seen.producers, self._oldest_ns(seen.at_ns), now_ns)

    def start(self, inlet: Inlet) -> None:
        assert self._server is not None, "start() before open()"
        assert self._service is not None
        self._service.inlet = inlet
        self._server.start()
        self._noted_s = self.context.clock.monotonic_s()

    def stop(self) -> None:
        if self._service is not None and self._server is not None:
            self._server.thread.run(self._service.stop())

    def close(self) -> None:
        if self._server is not None:
            if self._service is not None:
                self._server.thread.run(self._service.close())
            self._server.stop()
            self._server = None
            self._note()

    def lag_bytes(self) -> int:
        """See LiveSource.lag_bytes; asked for every second, so this is where it is noted who is there."""
        now_s = self.context.clock.monotonic_s()
        if now_s >= self._noted_s + NOTE_S and self._server is not None and self._service is not None:
            self._noted_s = now_s
            oldest_ns = self._oldest_ns(self.context.clock.wall_ns())
            self._server.thread.post(self._service.begin_forgetting, oldest_ns)
            self._note()
        return 0

    def _oldest_ns(self, now_ns: int) -> int:
        return now_ns - round(self._config.remember * 1e9)

    @property
    def _path(self) -> Path:
        return self.context.state_dir / SEEN

    def _seen(self) -> _Seen:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Seen)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return _Seen()  # nobody is forgotten

    def _note(self) -> None:
        if self._producers is None:
            return
        now_ns = self.context.clock.wall_ns()
        data = msgspec.json.encode(_Seen(now_ns, self._producers.seen_ns(now_ns)))
        with contextlib.suppress(OSError):  # then somebody is remembered longer
            new = self._path.with_suffix(".new")
            new.write_bytes(data)
            os.replace(new, self._path)
