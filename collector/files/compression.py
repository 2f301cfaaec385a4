"""Compression of a growing file, piece by piece: every piece is a member, frame or stream of its own.

Concatenated members are what `gzip -d`, `zstd -d`, `bzip2 -d` and readers of the snappy framing format accept, so a
file may be cut behind any of them and goes on behind any of them. All codecs here release the GIL.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Callable
from importlib import import_module

import pyarrow as pa

from qanat.errors import ConfigError
from qanat.limits import MIB

# What is gathered before it is compressed, unless a commit comes first. Larger pieces hardly compress better.
PIECE_BYTES = 1 * MIB

# The fastest levels: 65 MB/s (gzip), 14 (bz2), 310 (zstd), 620 (snappy) on one core; gzip's default, 6, runs at 40
# for a tenth less size.
GZIP_LEVEL = 1
BZ2_LEVEL = 9  # its level is the block size, hardly the speed
ZSTD_LEVEL = 1

_GZIP_WBITS = 31  # zlib: gzip header and trailer

Compress = Callable[[bytes], bytes]

NONE = "none"
SUFFIXES = {NONE: "", "gzip": ".gz", "zstd": ".zst", "bz2": ".bz2", "snappy": ".sz"}


def compressor(name: str) -> Compress | None:
    """What makes a member of some bytes; None for no compression. Raises ConfigError when a library is missing."""
    match name:
        case "gzip":
            return lambda data: zlib.compress(data, GZIP_LEVEL, wbits=_GZIP_WBITS)
        case "bz2":
            return lambda data: bz2.compress(data, BZ2_LEVEL)
        case "zstd":
            codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
            return lambda data: codec.compress(data, asbytes=True)
        case "snappy":
            return _snappy_frames()
    return None


def _snappy_frames() -> Compress:
    try:
        snappy = import_module("cramjam").snappy
    except ImportError as error:
        raise ConfigError("compression 'snappy' needs the extra: pip install 'qanat[snappy]'") from error
    return lambda data: bytes(snappy.compress(data))
