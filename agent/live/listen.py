"""Sockets that listen: addresses as flows write them, and errors that say what to do."""

from __future__ import annotations

import errno
import resource
import socket

import structlog

from qanat.errors import ConfigError

log = structlog.get_logger(__name__)

# Connections that the system accepts before the source does: a burst of a thousand senders after a restart.
BACKLOG = 1024

# File descriptors that an agent needs beside connections: a segment, sockets to collectors, libraries.
DESCRIPTORS_KEPT = 128

_WHY = {
    errno.EADDRINUSE: "somebody else listens there; `ss -lnp` says who",
    errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE; systemd gives it with AmbientCapabilities=",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
}


def bind(what: str, kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    """A bound socket, of connections one that listens. An empty `host` is every address, of IPv4 and IPv6. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host or (not host and socket.has_dualstack_ipv6()) else socket.AF_INET
    try:
        resolved = socket.getaddrinfo(host or None, port, family, kind, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        if family is socket.AF_INET6:
            raise _refused(what, host, port, str(error)) from error
        try:
            resolved = socket.getaddrinfo(host, port, 0, kind)[0]
        except socket.gaierror:
            raise _refused(what, host, port, str(error)) from error
    made = socket.socket(resolved[0], kind)
    try:
        if kind is socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if resolved[0] is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1 if host else 0)
        made.bind(resolved[4])
        if kind is socket.SOCK_STREAM:
            # Several may bind an address while none of them listens. The backlog comes with the start.
            made.listen(0)
    except OSError as error:
        made.close()
        why = _WHY.get(error.errno or 0, "")
        raise _refused(what, host, port, f"{error}" + (f"; {why}" if why else "")) from error
    return made


def _refused(what: str, host: str, port: int, why: str) -> ConfigError:
    return ConfigError(f"{what} can't listen on {host or 'any address'}, port {port}: {why}.")


def peer_of(address: object) -> str:
    """The address of a peer as people write it: IPv4 also where the socket is of both kinds."""
    host = str(address[0]) if isinstance(address, tuple) and address else ""
    return host.removeprefix("::ffff:") if "." in host else host


def allow_descriptors(wanted: int) -> int:
    """How many connections this process can have open, `wanted` at most; its soft limit is raised for them where it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + DESCRIPTORS_KEPT
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = wanted if soft == resource.RLIM_INFINITY else min(wanted, max(1, soft - DESCRIPTORS_KEPT))
    if allowed < wanted:
        log.warning(
            "connections_limited",
            wanted=wanted,
            allowed=allowed,
            why="the hard limit of open files (ulimit -Hn)",
        )
    return allowed


def keep_alive(connection: socket.socket) -> None:
    """Have the system find out whether a silent peer is still there: after some two minutes a dead one's connection ends."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
