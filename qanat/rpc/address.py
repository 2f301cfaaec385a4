"""Addresses as users write them: `host`, `host:port`, `[::1]:port`."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address

from qanat.errors import ConfigError

COLLECTOR_PORT = 35853  # Flume OG's flume.collector.port
MASTER_PORT = 35872  # Flume OG's flume.master.heartbeat.port


def joined(host: str, port: int) -> str:
    """`host:port` of the two, where an IPv6 address needs no brackets. Raises ConfigError when it is none."""
    with suppress(ValueError):  # a name, or with brackets
        host = f"[{IPv6Address(host)}]"
    return host_port(f"{host}:{port}")


def host_port(text: str, default_port: int = COLLECTOR_PORT) -> str:
    """`text` as `host:port`. Raises ConfigError when it is neither."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default_port)
    if not host or (":" in host and not host.startswith("[")) or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f'"{text}" is not an address; write host, host:port or [ipv6]:port')
    return f"{host}:{int(port)}"
