"""`netcatUdp(6666)`: datagrams as they are, as of Flume NG.

Guarantee: as of [syslogUdp](syslog-udp.md): what was received is in the channel; what the kernel had no room for is lost, and
counted (`datagrams_lost`).

    metrics : netcatUdp(6666) | agentBEChain("c1", "c2") ;
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec

from agent.faults import refuse
from agent.live.arguments import Port, wrong_host
from agent.live.datagrams import Received
from agent.live.source import ServedSource
from agent.live.udp import BUFFER_BYTES, UdpServer
from qanat.component import Context, Events, Parcel, Wrong
from qanat.config import Bytes
from qanat.lines import count_lines


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    host: str = ""  # the address to listen on; without one, all of this machine's, of IPv4 and IPv6
    buffer: Bytes = BUFFER_BYTES  # of the kernel; beyond net.core.rmem_max only with CAP_NET_ADMIN


class NetcatUdpConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `netcatUdp(...)` accepts."""

    port: Port  # 0: any that is free


class NetcatUdp(ServedSource):
    """A datagram is an event, whatever is in it; a line end at its end is not part of it, and nothing else is no event."""

    name: ClassVar[str] = "netcatUdp"
    Config: ClassVar[type[msgspec.Struct]] = NetcatUdpConfig

    def __init__(self, config: NetcatUdpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config

    @classmethod
    def check(cls, config: NetcatUdpConfig) -> Iterable[Wrong]:
        """See Component.check."""
        return wrong_host(config.host)

    def open(self) -> None:
        """Raises ConfigError."""
        refuse(self.name, self.check(self._config))
        server = UdpServer(self.name, _bodies, self.context.count)
        server.open(self._config.host, self._config.port, self._config.buffer)
        self._server = server

    def form(self, parcels: Sequence[Parcel]) -> Sequence[Events]:
        """Lines, unless a line end is within a datagram."""
        bodies: list[bytes] = [body for parcel in parcels for body in parcel.content]
        attributes = {"host": self.context.host}
        lines = b"\n".join([*bodies, b""])
        if count_lines(lines) == len(bodies):
            return [Events(lines, len(bodies), attributes)]
        from qanat.columns import of_bodies

        return [Events(of_bodies(bodies), len(bodies), attributes)]


def _bodies(received: Received) -> list[bytes]:
    return [body for each in received.datagrams if (body := each.removesuffix(b"\n").removesuffix(b"\r"))]
