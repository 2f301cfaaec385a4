"""Avro's binary encoding of columns, without a step per event: each field becomes an array of bytes, and they are joined.

Source: Apache Avro 1.11 specification, "Binary Encoding". [pure]
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from collector.files.rows import Rows, Text, well_formed
from qanat import ops

_NULL_BRANCH = b"\x00"  # index 0 of the union ["null", "string"]
_TEXT_BRANCH = b"\x02"  # index 1, zig-zag
_END_OF_MAP = b"\x00"


def long(value: int) -> bytes:
    """A zig-zag base-128 integer of 64 bits."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def blob(value: bytes) -> bytes:
    """`bytes` or `string`: the length, then the bytes."""
    return long(len(value)) + value


def records(of: Rows) -> pa.Buffer | bytes:
    """All rows as `qanat.Event` records (see `avro.py`), one behind the other."""
    if of.count == 0:
        return b""
    count = of.count
    timestamp = longs(of.timestamp_ns) if isinstance(of.timestamp_ns, pa.Array) else long(of.timestamp_ns)
    parts = [
        *_blobs(of.body.cast(pa.binary())),
        timestamp,
        _optional(of.host, count),
        blob(well_formed(of.stream).encode()),
        longs(of.position),
        _optional(of.priority, count),
        _map(of.attributes, count),
    ]
    return _data(_joined(parts))


def longs(values: pa.Array) -> pa.Array:
    """An int64 array, without nulls, as the encoding of each value."""
    sign = ops.if_else(ops.less(values, 0), -1, 0)
    zigzag = pc.bit_wise_xor(pc.shift_left(values, ops.constant(1)), sign).view(pa.uint64())
    largest = pc.max(zigzag).as_py()
    digits = []
    for shift in range(0, max(7, largest.bit_length()), 7):
        rest = pc.shift_right(zigzag, pa.scalar(shift, pa.uint64()))
        more = pc.greater(rest, pa.scalar(0x7F, pa.uint64()))
        low = pc.bit_wise_and(rest, pa.scalar(0x7F, pa.uint64()))
        digit = pc.bit_wise_or(low, pc.if_else(more, _U64_80, _U64_0))
        digits.append(_bytes_of(digit.cast(pa.uint8()), None if shift == 0 else pc.greater(rest, _U64_0)))
    return (
        digits[0]
        if len(digits) == 1
        else pc.binary_join_element_wise(*digits, ops.constant(b""), null_handling="skip")
    )


_U64_0, _U64_80 = pa.scalar(0, pa.uint64()), pa.scalar(0x80, pa.uint64())


def _bytes_of(digits: pa.Array, present: pa.Array | None) -> pa.Array:
    """Bytes as one-byte values; null where there is no such digit."""
    values = pa.Array.from_buffers(pa.binary(1), len(digits), [None, digits.buffers()[1]]).cast(pa.binary())
    return values if present is None else pc.if_else(present, values, pa.scalar(None, pa.binary()))


def _blobs(values: pa.Array) -> list[pa.Array]:
    """Length and content of each value; null where the value is."""
    lengths = pc.fill_null(pc.binary_length(values), 0).cast(pa.int64())
    return [longs(lengths), values]


def _optional(value: Text, count: int) -> pa.Array | bytes:
    """The union of null and string."""
    if value is None:
        return _NULL_BRANCH
    if isinstance(value, str):
        return _TEXT_BRANCH + blob(well_formed(value).encode())
    text = _joined([_TEXT_BRANCH, *_blobs(_binary(value))])
    return pc.fill_null(text, _NULL_BRANCH)


def _map(attributes: Mapping[str, Text], count: int) -> pa.Array | bytes:
    """The map of those that are not null: one block, then the end."""
    shared = {name: value for name, value in attributes.items() if isinstance(value, str)}
    own = {name: value for name, value in attributes.items() if isinstance(value, pa.Array)}
    constant = b"".join(_key(name) + blob(well_formed(value).encode()) for name, value in shared.items())
    if not own:
        return (long(len(shared)) + constant if shared else b"") + _END_OF_MAP
    entries = [_joined([_key(name), *_blobs(_binary(value))]) for name, value in own.items()]
    sizes = pa.repeat(pa.scalar(len(shared), pa.int64()), count)
    for entry in entries:
        sizes = pc.add(sizes, pc.is_valid(entry).cast(pa.int64()))
    is_empty = ops.equal(sizes, 0)
    end = ops.if_else(is_empty, b"", _END_OF_MAP)  # an empty map's size is its end already
    nothing = ops.constant(b"")
    return pc.binary_join_element_wise(
        longs(sizes), ops.constant(constant), *entries, end, nothing, null_handling="skip"
    )


def _key(name: str) -> bytes:
    return blob(well_formed(name).encode())


def _binary(value: pa.Array) -> pa.Array:
    return value.cast(pa.string()).cast(pa.binary())


def _joined(parts: list[pa.Array | bytes]) -> pa.Array:
    """Null where any part is."""
    return ops.join(*parts, b"")


def _data(values: pa.Array) -> pa.Buffer:
    """The content of all values: they lie one behind the other in the array's buffer."""
    _, offsets, data = values.buffers()
    ends = memoryview(offsets).cast("i")
    first, last = ends[values.offset], ends[values.offset + len(values)]
    return data.slice(first, last - first)
