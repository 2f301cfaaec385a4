"""TLS for sources that listen."""

from __future__ import annotations

import ssl
from typing import Literal

from qanat.errors import ConfigError

Clients = Literal["none", "optional", "required"]


def server_context(what: str, certificate: str, key: str, ca: str, clients: Clients) -> ssl.SSLContext:
    """TLS 1.2 or later. `ca`: who has signed the certificates of clients. Raises ConfigError."""
    if clients != "none" and not ca:
        raise ConfigError(
            f"{what}(clients={clients}) needs ca=: the certificates that sign those of clients."
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{what}(certificate={certificate!r}, key={key!r}) can't be used: {error}; both are PEM files that the agent may "
            "read, and the key has no password."
        ) from error
    if clients != "none":
        try:
            context.load_verify_locations(ca)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{what}(ca={ca!r}) can't be used: {error}; it is a PEM file.") from error
        context.verify_mode = ssl.CERT_REQUIRED if clients == "required" else ssl.CERT_OPTIONAL
    return context


def _no_password() -> str:
    """Instead of asking whoever sits at the terminal."""
    raise ValueError("the key is encrypted")
