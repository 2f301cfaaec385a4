"""Arguments that sources with connections have in common, and what can be wrong with them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Annotated, Literal

import msgspec

from agent.live.server import CONNECTIONS_MAX
from qanat.component import Wrong

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]

Clients = Literal["none", "optional", "required"]

# RFC 1123, section 2.1, and the underscore that names of containers have. Letters of any script: the resolver encodes them.
_NAME = re.compile(r"(?!-)[\w-]{1,63}(?<!-)(?:\.(?!-)[\w-]{1,63}(?<!-))*\.?")


class Listening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of sources that listen for connections."""

    host: str = ""  # the address to listen on; without one, all of this machine's, of IPv4 and IPv6
    connections: Annotated[int, msgspec.Meta(ge=1)] = CONNECTIONS_MAX  # at a time; more are refused

    def wrong(self) -> Iterable[Wrong]:
        """What can't work on any host; see Component.check."""
        yield from wrong_host(self.host)


class Encrypted(Listening, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of those that speak TLS if they are told to; without a certificate they don't."""

    certificate: str = ""  # a PEM file, with the chain that leads to it: TLS
    key: str = ""  # a PEM file without a password; by default in the same file
    ca: str = ""  # a PEM file: who signs the certificates of clients
    clients: Clients = "none"  # whether clients have to show certificates

    def wrong(self) -> Iterable[Wrong]:
        """And what doesn't go together."""
        yield from super().wrong()
        if not self.certificate and (given := self._given()):
            yield Wrong(given, "certificate= is missing, and without it there is no TLS")
        if self.clients != "none" and not self.ca:
            yield Wrong("clients", f"{self.clients} needs ca=: the certificates that sign those of clients")

    def _given(self) -> str:
        """An argument that is for TLS alone; empty when there is none."""
        return "key" if self.key else "ca" if self.ca else "clients" if self.clients != "none" else ""


def wrong_host(host: str) -> Iterable[Wrong]:
    """Of an address to listen on: what is neither one nor a name. Whether it is this machine's, its `open` finds."""
    if host and not (_is_address(host) or (_NAME.fullmatch(host) and not _is_numeric(host))):
        yield Wrong(
            "host",
            f'"{host}" is neither an IP address nor the name of a host; leave it out for all addresses',
        )


def _is_numeric(host: str) -> bool:
    return not host.strip("0123456789.")


def _is_address(host: str) -> bool:
    try:
        if _is_numeric(host):
            socket.inet_aton(host)  # which takes 127.1 too, as resolvers do
        else:
            ip_address(host)
    except (OSError, ValueError):
        return False
    return True
