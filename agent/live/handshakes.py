"""Says why peers of an encrypted source are refused: asyncio ends a connection whose handshake fails without a word."""

from __future__ import annotations

import ssl
import time

import structlog

log = structlog.get_logger(__name__)

# A scanner, or a client that tries again each second, fills no disk with log lines.
LOG_S = 10.0

# The reasons that people meet, and what they mean; OpenSSL names them for who knows the protocol.
_MEANINGS = {
    "HTTP_REQUEST": "the peer speaks HTTP without TLS",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate, and clients=required",
    "CERTIFICATE_VERIFY_FAILED": "nobody in ca= has signed the peer's certificate, or it is not valid now",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know who signed this agent's certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not take this agent's certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not take this agent's certificate",
    "UNSUPPORTED_PROTOCOL": "the peer speaks TLS before 1.2 only",
}


class Handshakes:
    """Of one source. *Thread*: its loop's."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._failed = 0
        self._say_at_s = 0.0

    def failed(self, error: ssl.SSLError) -> None:
        """A connection ends for it."""
        self._failed += 1
        now_s = time.monotonic()
        if now_s < self._say_at_s:
            return
        self._say_at_s = now_s + LOG_S
        reason = getattr(error, "reason", None) or ""
        log.warning(
            "handshake_failed",
            source=self._source,
            reason=_MEANINGS.get(reason, reason or str(error)),
            failed=self._failed,
            consequence="the connection is closed, nothing was taken from it",
        )


def logged(context: ssl.SSLContext, source: str) -> ssl.SSLContext:
    """The context, whose failing handshakes are told from now on."""
    handshakes = Handshakes(source)

    class Told(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                handshakes.failed(error)
                raise

    context.sslobject_class = Told
    return context
