"""`syslogUdp(5140)`: syslog messages (RFC 5424, RFC 3164) as datagrams (RFC 5426).

Guarantee: what was received is in the channel, in the order of arrival, and as safe as the channel makes it. Who sends over UDP
can't be asked to wait: what the kernel has no room for, as the channel is full or the machine too busy, is lost and counted
(`datagrams_lost`); what the network loses nobody knows. Where that matters use syslogTcp, or a protocol with answers.

    sys : syslogUdp(5140) | agentE2EChain("c1", "c2") ;

The body is the message without its header. Attributes: `host` (the sender's address, if the message does not say), `timestamp`,
`severity`, `facility`, `priority` (as Flume OG called severities), `app`, `procid`, `msgid`, `structured_data`, and
`ID.NAME` for each parameter in that. What is in neither format is kept as it is, with the attribute `syslog_error`.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from agent.live.arguments import Port
from agent.live.datagrams import NAME_BYTES, Received
from agent.live.udp import BUFFER_BYTES, UdpServer
from agent.syslog.source import Frames, SyslogConfig, SyslogSource
from qanat.component import Context
from qanat.config import Bytes


class _Options(SyslogConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    buffer: Bytes = BUFFER_BYTES  # of the kernel; beyond net.core.rmem_max only with CAP_NET_ADMIN


class SyslogUdpConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `syslogUdp(...)` accepts."""

    port: Port = 514


class SyslogUdp(SyslogSource):
    """A datagram is a message; line ends and zeros at its end are not part of it."""

    name: ClassVar[str] = "syslogUdp"
    Config: ClassVar[type[msgspec.Struct]] = SyslogUdpConfig

    def __init__(self, config: SyslogUdpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._address = (config.host, config.port, config.buffer)

    def open(self) -> None:
        """Raises ConfigError."""
        super().open()
        server = UdpServer(self.name, self._wrap, self.context.count)
        server.open(*self._address)
        self._server = server

    def _wrap(self, received: Received) -> Frames:
        messages = [each.rstrip(b"\r\n\0") for each in received.datagrams]
        policy = self.policy
        if max(map(len, messages)) <= policy.event_bytes:
            return Frames(messages, received.names)
        parts, names = [], []
        for number, each in enumerate(messages):
            cut = policy.cut(each)
            parts += cut
            names += [received.names[number * NAME_BYTES : (number + 1) * NAME_BYTES]] * len(cut)
        return Frames(parts, b"".join(names))
