"""`netcat(6666)`: lines over TCP, each answered with `OK`, as of Flume NG.

Guarantee: what was answered is in the channel, in the order of its connection, and as safe as the channel makes it. A peer that
sends again what was not answered loses nothing, and may have some lines stored twice after a crash of the agent. When the channel
is full no connection is read, and the peers wait.

    lines : netcat(6666) | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from agent.faults import refuse, wrong_event_bytes
from agent.live.arguments import Listening, Port
from agent.live.framing import LineFramer, SizePolicy
from agent.live.source import ServedSource
from agent.live.tcp import TcpServer
from qanat import limits
from qanat.component import Context, Wrong
from qanat.config import Bytes
from qanat.lines import count_lines

ANSWER = b"OK\n"


class _Options(Listening, frozen=True, forbid_unknown_fields=True, kw_only=True):
    ack: bool = True  # whether each line is answered with OK once it is safe in the channel
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    oversize: Literal["split", "truncate"] = "split"  # what happens to a line above event_bytes


class NetcatConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `netcat(...)` accepts."""

    port: Port  # 0: any that is free


class Netcat(ServedSource):
    """Any number of connections; a line is an event."""

    name: ClassVar[str] = "netcat"
    Config: ClassVar[type[msgspec.Struct]] = NetcatConfig

    def __init__(self, config: NetcatConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config

    @classmethod
    def check(cls, config: NetcatConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_event_bytes(config.event_bytes)
        yield from config.wrong()

    def open(self) -> None:
        """Raises ConfigError."""
        config = self._config
        refuse(self.name, self.check(config))
        policy = SizePolicy(config.event_bytes, config.oversize, self.context.count)
        server = TcpServer(
            self.name,
            lambda: LineFramer(policy),
            lambda content, peer: content,
            connections_max=config.connections,
            count=self.context.count,
            answer=_answer if config.ack else None,
        )
        server.open(config.host, config.port)
        self._server = server


def _answer(content: bytes | list[bytes]) -> bytes:
    """One for each line."""
    return ANSWER * (count_lines(content) if isinstance(content, bytes) else len(content))
