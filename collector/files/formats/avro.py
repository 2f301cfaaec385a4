"""`avro`: an object container file, a block for each piece, so that it may be cut behind any of them.

Schema `qanat.Event`: `body` bytes, `timestamp` long (ns since 1970 UTC, logical type timestamp-nanos), `host` string or
null, `stream` string, `position` long, `priority` string or null, `attributes` map of strings.

Written here, by column (`avro_binary.py`): Avro libraries take an object for each event, and a file that is resumed after a
crash must go on with the sync marker that it began with.
"""

from __future__ import annotations

import bz2
import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from collector.files.compression import NONE, ZSTD_LEVEL
from collector.files.formats.avro_binary import blob, long, records
from collector.files.formats.base import Buffer, Format
from collector.files.rows import rows
from qanat.batch import Batch

SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Event",
    "namespace": "qanat",
    "fields": [
        {"name": "body", "type": "bytes"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-nanos"}},
        {"name": "host", "type": ["null", "string"]},
        {"name": "stream", "type": "string"},
        {"name": "position", "type": "long"},
        {"name": "priority", "type": ["null", "string"]},
        {"name": "attributes", "type": {"type": "map", "values": "string"}},
    ],
}
_MAGIC = b"Obj\x01"
_CODECS = {NONE: "null", "gzip": "deflate", "zstd": "zstandard", "bz2": "bzip2", "snappy": "snappy"}
_RAW_DEFLATE_WBITS = -15


class Avro(Format):
    """See the module."""

    def __init__(self, compression: str) -> None:
        super().__init__("avro", compression, ".avro")
        self._compress = _codec(compression)

    @property
    def direct(self) -> bool:
        return False

    def header(self, name: str) -> bytes:
        metadata = {
            "avro.codec": _CODECS[self.compression].encode(),
            "avro.schema": json.dumps(SCHEMA).encode(),
        }
        entries = b"".join(blob(key.encode()) + blob(value) for key, value in metadata.items())
        return _MAGIC + long(len(metadata)) + entries + long(0) + _marker(name)

    def encode(self, batch: Batch) -> list[Buffer]:
        return [memoryview(records(rows(batch)))]

    def piece(self, name: str, buffers: Sequence[Buffer], events: int) -> bytes:
        data = self._compress(b"".join(buffers))
        return long(events) + blob(data) + _marker(name)


def _codec(compression: str) -> Callable[[bytes], bytes]:
    match compression:
        case "gzip":
            return lambda data: zlib.compress(data, wbits=_RAW_DEFLATE_WBITS)
        case "bz2":
            return bz2.compress
        case "zstd":
            zstd = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
            return lambda data: zstd.compress(data, asbytes=True)
        case "snappy":  # raw snappy, and the CRC-32 of the plain bytes, big-endian
            snappy = pa.Codec("snappy")
            return lambda data: snappy.compress(data, asbytes=True) + zlib.crc32(data).to_bytes(4, "big")
    return lambda data: data


def _marker(name: str) -> bytes:
    """The sync marker of a file: of its name, so that a file resumed after a crash goes on with its own."""
    return hashlib.sha256(name.encode()).digest()[:16]
