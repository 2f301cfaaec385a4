"""`avro`: an object container file, a block for each piece, so that it may be cut behind any of them.

Schema `qanat.Event`: `body` bytes, `timestamp` long (ns since 1970 UTC, logical type timestamp-nanos), `host` string or
null, `stream` string, `position` long, `priority` string or null, `attributes` map of strings.

Records are encoded by fastavro, an object for each event: about 70,000 events/s a core, all told. The container around them is
made here, because a file that is resumed after a crash must go on with the sync marker that it began with.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import pyarrow as pa

from collector.files.compression import NONE, ZSTD_LEVEL
from collector.files.formats.base import Buffer, Format
from collector.files.rows import Rows, Text, rows, well_formed
from qanat.batch import Batch
from qanat.errors import ConfigError

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
        try:
            self._fastavro = import_module("fastavro")
        except ImportError as error:
            raise ConfigError("format 'avro' needs the extra: pip install 'qanat[avro]'") from error
        # Plain types only: with the logical type, fastavro would look at every timestamp.
        fields = [
            {"name": "timestamp", "type": "long"} if of["name"] == "timestamp" else of
            for of in SCHEMA["fields"]
        ]
        self._schema = self._fastavro.parse_schema({**SCHEMA, "fields": fields})
        self._compress = _codec(compression)

    @property
    def direct(self) -> bool:
        return False

    def header(self, name: str) -> bytes:
        metadata = {
            "avro.codec": _CODECS[self.compression].encode(),
            "avro.schema": json.dumps(SCHEMA).encode(),
        }
        entries = b"".join(_bytes(key.encode()) + _bytes(value) for key, value in metadata.items())
        return _MAGIC + _long(len(metadata)) + entries + _long(0) + _marker(name)

    def encode(self, batch: Batch) -> list[Buffer]:
        out = io.BytesIO()
        marker = bytes(16)
        # One block that never ends by itself, behind a header that is written first: keep what lies between.
        self._fastavro.writer(out, self._schema, [], sync_marker=marker)
        header = out.tell()
        out = io.BytesIO()
        self._fastavro.writer(
            out, self._schema, _records(rows(batch)), sync_interval=1 << 40, sync_marker=marker
        )
        block = out.getbuffer()[header : -len(marker)]
        for _ in range(2):  # the number of records, and the number of bytes
            block = _skip_long(block)
        return [block]

    def piece(self, name: str, buffers: Sequence[Buffer], events: int) -> bytes:
        data = self._compress(b"".join(buffers))
        return _long(events) + _bytes(data) + _marker(name)


def _records(of: Rows) -> list[dict[str, Any]]:
    """An object for each event: fastavro knows no columns."""
    names = [well_formed(name) for name in of.attributes]
    attributes = list(zip(*(_texts(value, of.count) for value in of.attributes.values()), strict=True))
    maps = [
        {name: text for name, text in zip(names, row, strict=True) if text is not None} for row in attributes
    ]
    timestamps = (
        of.timestamp_ns.to_pylist() if isinstance(of.timestamp_ns, pa.Array) else [of.timestamp_ns] * of.count
    )
    stream = well_formed(of.stream)
    return [
        {
            "body": body,
            "timestamp": ns,
            "host": host,
            "stream": stream,
            "position": position,
            "priority": priority,
        }
        | {"attributes": mapping}
        for body, ns, host, position, priority, mapping in zip(
            of.body.to_pylist(),
            timestamps,
            _texts(of.host, of.count),
            of.position.to_pylist(),
            _texts(of.priority, of.count),
            maps or [{}] * of.count,
            strict=True,
        )
    ]


def _texts(value: Text, count: int) -> list[str | None]:
    if isinstance(value, pa.Array):
        return value.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    return [None if value is None else well_formed(value)] * count


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


def _bytes(value: bytes) -> bytes:
    return _long(len(value)) + value


def _long(value: int) -> bytes:
    """Avro's zig-zag base-128 integer, of a number that is not negative."""
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _skip_long(view: memoryview) -> memoryview:
    at = 0
    while view[at] & 0x80:
        at += 1
    return view[at + 1 :]
