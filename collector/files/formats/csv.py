"""`csv`: a header, then `timestamp,host,stream,position,priority,attributes,body`, a record for each event.

Quoted as in RFC 4180, with a line feed behind each record. Text fields are always quoted, so a body may hold quotes,
commas and line ends. The body's bytes are written as they are: a reader that wants all of them opens the file as Latin-1 or with
`errors="surrogateescape"`. `attributes` is a JSON object.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from collector.files.formats.base import Buffer
from collector.files.formats.raw import StreamFormat
from collector.files.formats.text import Part, iso_time, join, json_object, values
from collector.files.rows import Text, rows, well_formed
from qanat import ops
from qanat.batch import Batch

HEADER = b"timestamp,host,stream,position,priority,attributes,body\n"


class Csv(StreamFormat):
    """See the module."""

    def __init__(self, compression: str) -> None:
        super().__init__("csv", compression, ".csv")

    def plain_header(self) -> bytes:
        return HEADER

    def encode(self, batch: Batch) -> list[Buffer]:
        of = rows(batch)
        parts: list[Part] = [
            iso_time(of.timestamp_ns),
            b",",
            *_field(of.host),
            b",",
            *_field(of.stream),
            b",",
        ]
        parts += [of.position.cast(pa.string()), b",", *_field(of.priority), b',"']
        parts += [_doubled(part) for part in json_object(of.attributes)]
        return [join([*parts, b'","', _doubled(of.body), b'"\n'])]


def _field(value: Text) -> list[Part]:
    """A quoted field; nothing for null."""
    if value is None:
        return [b""]
    if isinstance(value, str):
        return [b'"' + _doubled_bytes(well_formed(value).encode()) + b'"']
    text = value.cast(pa.string())
    doubled = pc.replace_substring(pc.fill_null(text, ""), '"', '""')
    return [ops.if_else(pc.is_valid(text), ops.join('"', doubled, '"', ""), "")]


def _doubled(part: Part) -> Part:
    if isinstance(part, bytes):
        return _doubled_bytes(part)
    binary = part.cast(pa.binary())
    return pc.replace_substring(binary, b'"', b'""') if b'"' in bytes(values(binary)) else binary


def _doubled_bytes(value: bytes) -> bytes:
    return value.replace(b'"', b'""')
