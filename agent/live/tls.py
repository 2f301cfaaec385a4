"""TLS for sources that listen."""

from __future__ import annotations

import ssl

from agent.faults import refuse
from agent.live.arguments import Encrypted
from agent.live.handshakes import logged
from qanat.errors import ConfigError


def server_context(what: str, arguments: Encrypted) -> ssl.SSLContext | None:
    """TLS 1.2 or later; None without a certificate. *Blocking*: reads files. Raises ConfigError."""
    refuse(what, arguments.wrong())
    if not arguments.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key, ca = arguments.certificate, arguments.key, arguments.ca
    try:
        context.load_cert_chain(certificate, key or None, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{what}(certificate={certificate!r}, key={key!r}) can't be used: {error}; both are PEM files that the agent may "
            "read, and the key has no password."
        ) from error
    if arguments.clients != "none":
        try:
            context.load_verify_locations(ca)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{what}(ca={ca!r}) can't be used: {error}; it is a PEM file.") from error
        context.verify_mode = ssl.CERT_REQUIRED if arguments.clients == "required" else ssl.CERT_OPTIONAL
    return logged(context, what)


def _no_password() -> str:
    """Instead of asking whoever sits at the terminal."""
    raise ValueError("the key is encrypted")
