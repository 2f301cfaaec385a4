"""Bodies of requests as they were before the peer compressed them, no larger than they may be. [pure]"""

from __future__ import annotations

import zlib

BAD_REQUEST, TOO_LARGE, UNSUPPORTED = 400, 413, 415

# What zlib is told: 16 + the largest window is gzip, the window alone a zlib header, below zero neither (RFC 1950, RFC 1951).
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS

# Of a body of gzip parts, one after the other: each may be of a few bytes, and costs a decoder of some KB for a moment.
PARTS_MAX = 1024


class Refusal(Exception):  # an answer, which is no error of ours
    """What a peer is answered instead of 200: `status` as HTTP has it, `why` a sentence."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


def decoded(data: bytes, encoding: str, bytes_max: int) -> bytes:
    """`encoding`: of Content-Encoding. Raises Refusal, before it has made more than `bytes_max`."""
    match encoding.strip().lower():
        case "" | "identity":
            return data
        case "gzip" | "x-gzip":
            return _inflated(data, _GZIP, bytes_max)
        case "deflate":
            # Some clients leave the zlib header out (RFC 9110, 8.4.1.2). Its first byte says that it is one, almost surely.
            has_header = data[:1] and data[0] & 0x0F == zlib.DEFLATED and data[0] >> 4 < 8
            return _inflated(data, _ZLIB if has_header else _RAW, bytes_max)
        case other:
            raise Refusal(
                UNSUPPORTED,
                f"Content-Encoding {other[:40]!r} is not known here; gzip, deflate and identity are",
            )


def _inflated(data: bytes, window: int, bytes_max: int) -> bytes:
    made: list[bytes] = []
    size = 0
    for _ in range(PARTS_MAX):
        decoder = zlib.decompressobj(window)
        try:
            part = decoder.decompress(data, bytes_max + 1 - size)
        except zlib.error as error:
            raise Refusal(
                BAD_REQUEST, f"the body is not compressed as Content-Encoding says: {error}"
            ) from error
        size += len(part)
        made.append(part)
        if size > bytes_max:
            raise Refusal(
                TOO_LARGE,
                f"the body has more than {bytes_max} bytes decompressed; send fewer events at a time",
            )
        if not decoder.eof:
            raise Refusal(BAD_REQUEST, "the compressed body ends too early; send it again, whole")
        data = decoder.unused_data
        if not data or window != _GZIP:
            return b"".join(made)
    raise Refusal(BAD_REQUEST, f"the body has more than {PARTS_MAX} gzip members; compress it as one")
