"""`avro(41414)`: Flume NG's Avro RPC, so that NG's Avro sinks, RPC clients and appenders for log4j can send here unchanged.

Guarantee: a request is answered OK when all of its events are in the channel, and as safe as the channel makes it; else FAILED or
UNKNOWN, and NG sends it again. A client that repeats loses nothing, and may have the events of a request stored twice when the
agent dies before the answer, or after UNKNOWN. Requests of one connection keep their order. When the channel is full no
connection is read, and a request that has waited for `wait` is refused.

    ng  : avro(41414) | agentE2EChain("c1", "c2") ;
    tls : avro(41415, certificate="/etc/qanat/cert.pem", key="/etc/qanat/key.pem", compression=deflate) | agentE2EChain("c1") ;

Each header becomes an attribute; `timestamp` (ms), else `flume.client.log4j.timestamp`, is the event's time, `host` its host.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec

from agent.avro.server import AvroServer, Compression, Settings
from agent.faults import refuse, wrong_event_bytes
from agent.live import tls
from agent.live.arguments import Encrypted, Port
from agent.live.framing import OversizeOf, SizePolicy
from agent.live.letters import FileLetters
from agent.live.source import ServedSource
from qanat import limits
from qanat.component import Context, Events, Parcel, Wrong
from qanat.config import Bytes, Seconds

# Clients of NG give up after 20 s by default; they should hear before.
WAIT_S = 15.0


class _Options(Encrypted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    compression: Compression = "auto"  # deflate is NG's compression-type; auto: as the client does
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    oversize: OversizeOf = "split"  # what happens to a body above event_bytes
    dead_letter_quota: Bytes = limits.GIB
    wait: Seconds = WAIT_S  # a request without an answer is refused then


class AvroConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `avro(...)` accepts."""

    port: Port  # 0: any that is free


class Avro(ServedSource):
    """Any number of clients; a request holds one event (`append`) or many (`appendBatch`)."""

    name: ClassVar[str] = "avro"
    Config: ClassVar[type[msgspec.Struct]] = AvroConfig

    @classmethod
    def check(cls, config: AvroConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_event_bytes(config.event_bytes)
        yield from config.wrong()

    def __init__(self, config: AvroConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        # On disk before a client is answered, who would repeat it otherwise.
        letters = FileLetters(context, config.dead_letter_quota, synced=True)
        self._policy = SizePolicy(
            config.event_bytes,
            config.oversize,
            context.count,
            letters if config.oversize == "dead-letter" else None,
        )

    def open(self) -> None:
        """Raises ConfigError."""
        config = self._config
        refuse(self.name, self.check(config))
        context = tls.server_context(self.name, config)
        if context is not None:
            # Flume's clients speak through Netty 3, whose TLS 1.3 on a new Java ends in a bad record MAC.
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        server = AvroServer(
            Settings(config.compression, config.connections, config.wait, self.context.count, context)
        )
        server.open(config.host, config.port)
        self._server = server

    def form(self, parcels: Sequence[Parcel]) -> list[Events]:
        """See LiveSource.form."""
        from agent.avro.columns import events_of

        return events_of([parcel.content for parcel in parcels], self._policy, self.context.host)
