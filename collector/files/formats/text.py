"""Text of columns by vector operations: JSON strings, times, and the joining of pieces into lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from collector.files.rows import Text, well_formed
from qanat import ops

Part: TypeAlias = "bytes | pa.Array"

_NOT_CONTROL = bytes(range(0x20, 0x100))

# Line ends to JavaScript and to `str.splitlines`; legal in JSON as they are, escaped so that a line stays a line.
_SEPARATORS = ("\u2028", "\u2029", "\x85")


def join(parts: Sequence[Part]) -> memoryview:
    """The rows of `parts`, each the concatenation of its elements (a constant repeats), one row after the other."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, bytes) and isinstance(last, bytes):
            merged[-1] = last + part
        else:
            merged.append(part)
    scalars = [
        pa.scalar(part, pa.binary()) if isinstance(part, bytes) else part.cast(pa.binary()) for part in merged
    ]
    return values(pc.binary_join_element_wise(*scalars, pa.scalar(b"", pa.binary())))


def values(array: pa.Array) -> memoryview:
    """The bytes of a binary or string array without nulls, one value after the other. Zero-copy."""
    _, offsets, data = array.buffers()
    if len(array) == 0 or data is None:
        return memoryview(b"")
    ends = memoryview(offsets).cast("i")
    return memoryview(data)[ends[array.offset] : ends[array.offset + len(array)]]


def json_constant(value: str | None) -> bytes:
    """A JSON string, or null."""
    return msgspec.json.encode(None if value is None else well_formed(value))


def json_escaped(array: pa.Array) -> pa.Array:
    """A string array with all that JSON wants escaped, without the quotes around.

    One look at the whole block tells which replacements are needed at all; ordinary lines need none or two.
    """
    block = bytes(values(array))
    if b"\\" in block:
        array = pc.replace_substring(array, "\\", "\\\\")
    if b'"' in block:
        array = pc.replace_substring(array, '"', '\\"')
    present = [chr(code) for code in sorted(set(block.translate(None, _NOT_CONTROL)))]
    if not block.isascii():
        present += [character for character in _SEPARATORS if character.encode() in block]
    for character in present:
        array = pc.replace_substring(array, character, f"\\u{ord(character):04x}")
    return array


def json_value(value: Text) -> Part:
    """A JSON value: string, number, boolean, or null."""
    if not isinstance(value, pa.Array):
        return json_constant(value)
    if pa.types.is_string(value.type):
        quoted = ops.join('"', json_escaped(pc.fill_null(value, "")), '"', "")
        text = ops.if_else(pc.is_valid(value), quoted, "null") if value.null_count else quoted
    elif pa.types.is_floating(value.type):  # JSON has no NaN and no infinity
        finite = pc.if_else(pc.is_finite(value), value, pa.scalar(None, value.type))
        text = pc.fill_null(finite.cast(pa.string()), "null")
    else:
        text = pc.fill_null(value.cast(pa.string()), "null")
    return text


def json_object(members: dict[str, Text]) -> list[Part]:
    """Pieces of a JSON object."""
    parts: list[Part] = [b"{"]
    for number, (name, value) in enumerate(members.items()):
        parts += [b"," if number else b"", json_constant(name), b":", json_value(value)]
    return [*parts, b"}"]


def iso_time(ns: int | pa.Array) -> Part:
    """RFC 3339 with nine decimals, in UTC: `2026-08-31T12:00:00.000000000Z`."""
    if isinstance(ns, pa.Array):
        text = ns.cast(pa.timestamp("ns")).cast(pa.string())
        return ops.join(pc.utf8_replace_slice(text, 10, 11, "T"), "Z", "")
    seconds, rest = divmod(ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z".encode()
