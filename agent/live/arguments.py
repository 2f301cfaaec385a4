"""Arguments that sources with connections have in common, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from agent.live.server import CONNECTIONS_MAX
from qanat.component import Wrong
from qanat.errors import ConfigError

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]

Clients = Literal["none", "optional", "required"]


class Listening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of sources that listen for connections."""

    host: str = ""  # the address to listen on; without one, all of this machine's, of IPv4 and IPv6
    connections: Annotated[int, msgspec.Meta(ge=1)] = CONNECTIONS_MAX  # at a time; more are refused


class Encrypted(Listening, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of those that speak TLS if they are told to; without a certificate they don't."""

    certificate: str = ""  # a PEM file, with the chain that leads to it: TLS
    key: str = ""  # a PEM file without a password; by default in the same file
    ca: str = ""  # a PEM file: who signs the certificates of clients
    clients: Clients = "none"  # whether clients have to show certificates

    def wrong(self) -> Iterable[Wrong]:
        """What doesn't go together; see Component.check."""
        if not self.certificate and (self.key or self.ca or self.clients != "none"):
            yield Wrong("certificate", "it is missing, and without it there is no TLS")
        if self.clients != "none" and not self.ca:
            yield Wrong("clients", f"{self.clients} needs ca=: the certificates that sign those of clients")


def refuse(what: str, wrong: Iterable[Wrong]) -> None:
    """For `open`, of a source that nobody has checked. Raises ConfigError if anything is wrong."""
    if found := [f"{what}({each.argument}=): {each.why}." for each in wrong]:
        raise ConfigError(*found)
