"""`syslogTcp(5140)`, `syslogTls(6514, ...)`: syslog messages (RFC 5424, RFC 3164) over connections (RFC 6587, RFC 5425).

Guarantee: what was received is in the channel, in the order of each connection, and as safe as the channel makes it. When that is
full no connection is read, and the senders wait. Syslog has no answers, so a sender can't know what arrived: when the agent
crashes, what was in the sockets and not in the channel yet is lost (docs/sources.md says how much). A clean stop reads what has
arrived first.

    sys : syslogTcp(5140) | agentE2EChain("c1", "c2") ;
    tls : syslogTls(6514, "/etc/qanat/cert.pem", "/etc/qanat/key.pem") | agentE2EChain("c1", "c2") ;

Messages end in a line end, or have their length before them; each connection is looked at for which. Body and attributes are as
in [syslogUdp](syslog-udp.md). `syslogTcp1` is another name of `syslogTcp`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Annotated, ClassVar, Literal

import msgspec

from agent.live import framing, tls
from agent.live.arguments import Clients, Encrypted, Port
from agent.live.framing import Framer, SizePolicy
from agent.live.server import CONNECTIONS_MAX
from agent.live.tcp import TcpServer
from agent.syslog.source import Frames, SyslogConfig, SyslogSource
from qanat.component import Context, Wrong


class _TcpOptions(SyslogConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    framing: Literal["auto", "newline", "counted"] = "auto"  # counted: with its length before each message
    connections: Annotated[int, msgspec.Meta(ge=1)] = (
        CONNECTIONS_MAX  # at a time; more are closed, and counted (connections_refused)
    )


class SyslogTcpConfig(_TcpOptions, frozen=True, forbid_unknown_fields=True):
    """What `syslogTcp(...)` accepts."""

    port: Port = 514


class _TlsOptions(_TcpOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    ca: str = ""  # a PEM file: who signs the certificates of clients
    clients: Clients = "none"  # whether clients have to show certificates


class SyslogTlsConfig(_TlsOptions, frozen=True, forbid_unknown_fields=True):
    """What `syslogTls(...)` accepts."""

    port: Port
    certificate: str  # a PEM file, with the chain that leads to it
    key: str = ""  # a PEM file without a password; by default in the same file


_FRAMERS: dict[str, Callable[[SizePolicy], Framer]] = {
    "auto": framing.SyslogFramer,
    "newline": framing.LineFramer,
    "counted": lambda policy: framing.CountedFramer(policy, framing.ENDS),
}


class SyslogTcp(SyslogSource):
    """Any number of connections."""

    name: ClassVar[str] = "syslogTcp"
    Config: ClassVar[type[msgspec.Struct]] = SyslogTcpConfig

    def __init__(self, config: SyslogTcpConfig | SyslogTlsConfig, context: Context) -> None:
        super().__init__(config, context)
        self._tcp = config

    def open(self) -> None:
        """Raises ConfigError."""
        super().open()
        framer, policy = _FRAMERS[self._tcp.framing], self.policy
        server = TcpServer(
            self.name,
            lambda: framer(policy),
            Frames,
            connections_max=self._tcp.connections,
            count=self.context.count,
            tls=self._context(),
        )
        server.open(self._tcp.host, self._tcp.port)
        self._server = server

    def _context(self) -> ssl.SSLContext | None:
        return None


class SyslogTls(SyslogTcp):
    """The same, encrypted: TLS 1.2 or later, with certificates of clients if wanted."""

    name: ClassVar[str] = "syslogTls"
    Config: ClassVar[type[msgspec.Struct]] = SyslogTlsConfig

    @classmethod
    def check(cls, config: SyslogTlsConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from super().check(config)
        if config.certificate:
            yield from _encryption(config).wrong()
        else:
            yield Wrong(
                "certificate", "it is empty, and without it there is no TLS; for none there is syslogTcp"
            )

    def __init__(self, config: SyslogTlsConfig, context: Context) -> None:
        super().__init__(config, context)
        self._tls = config

    def _context(self) -> ssl.SSLContext | None:
        return tls.server_context(self.name, _encryption(self._tls))


def _encryption(config: SyslogTlsConfig) -> Encrypted:
    return Encrypted(certificate=config.certificate, key=config.key, ca=config.ca, clients=config.clients)
