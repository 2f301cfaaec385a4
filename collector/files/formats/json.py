"""`json`: one object a line.

    {"timestamp":"2026-08-31T12:00:00.000000000Z","host":"web01","stream":"...","position":4711,"priority":null,
     "attributes":{"file":"/var/log/x"},"body":"..."}

Every body survives: one that is not UTF-8 comes as `"body_base64"` instead of `"body"`. Attribute values that are not
UTF-8 have such bytes as `\\xNN`.
"""

from __future__ import annotations

import base64

import msgspec
import pyarrow as pa

from collector.files.formats.base import Buffer
from collector.files.formats.raw import StreamFormat
from collector.files.formats.text import (
    Part,
    iso_time,
    join,
    json_constant,
    json_escaped,
    json_object,
    json_value,
)
from collector.files.rows import is_utf8, rows
from qanat.batch import Batch


class Json(StreamFormat):
    """See the module."""

    def __init__(self, compression: str) -> None:
        super().__init__("json", compression, ".json")

    def encode(self, batch: Batch) -> list[Buffer]:
        of = rows(batch)
        parts: list[Part] = [b'{"timestamp":"', iso_time(of.timestamp_ns), b'","host":', json_value(of.host)]
        parts += [b',"stream":', json_constant(of.stream), b',"position":', of.position.cast(pa.string())]
        parts += [
            b',"priority":',
            json_value(of.priority),
            b',"attributes":',
            *json_object(of.attributes),
            b",",
        ]
        return [join([*parts, *_body(of.body), b"}\n"])]


def _body(body: pa.Array) -> list[Part]:
    if is_utf8(body):
        return [b'"body":"', json_escaped(body.cast(pa.string())), b'"']
    # Rare, and only for batches that hold such a body: one Python step an event.
    return [pa.array([_member(value) for value in body.to_pylist()], pa.binary())]


def _member(value: bytes) -> bytes:
    try:
        return b'"body":' + msgspec.json.encode(value.decode())
    except UnicodeDecodeError:
        return b'"body_base64":"' + base64.b64encode(value) + b'"'
