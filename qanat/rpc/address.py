"""Addresses as users write them: `host`, `host:port`, `[::1]:port`."""

from __future__ import annotations

from qanat.errors import ConfigError

COLLECTOR_PORT = 35853  # Flume OG's flume.collector.port
MASTER_PORT = 35872  # Flume OG's flume.master.heartbeat.port


def host_port(text: str, default_port: int = COLLECTOR_PORT) -> str:
    """`text` as `host:port`. Raises ConfigError when it is neither."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default_port)
    if not host or (":" in host and not host.startswith("[")) or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f'"{text}" is not an address; write host, host:port or [ipv6]:port')
    return f"{host}:{int(port)}"
