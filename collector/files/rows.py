"""The events of a batch as columns that structured formats write, whatever form and columns the batch came with.

A value that holds for the whole batch stays one Python value; what differs between events is an Arrow array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from qanat.batch import Batch
from qanat.columns import BODY, HOST, POSITION, PRIORITY, REQUIRED, TIMESTAMP, to_columns

STANDARD = (BODY, POSITION, TIMESTAMP, HOST, PRIORITY)

Text: TypeAlias = "str | pa.Array | None"


@dataclass(frozen=True, slots=True)
class Rows:
    """`body` binary; `position` int64; `timestamp_ns` one for all or int64 array; `host`, `priority` and `attributes`
    one text for all or an array (string, or a number or boolean for an extracted attribute)."""

    count: int
    stream: str
    body: pa.Array
    position: pa.Array
    timestamp_ns: int | pa.Array
    host: Text
    priority: Text
    attributes: dict[str, Text]


def rows(batch: Batch) -> Rows:
    """The rows of a batch; its own attributes fill in where an event has none."""
    columns = to_columns(batch).payload
    assert not isinstance(columns, bytes)
    shared = dict(batch.attributes)
    names = columns.schema.names
    own = {name: columns.column(name) for name in names if name not in REQUIRED.names and name != TIMESTAMP}
    texts: dict[str, Text] = dict(shared)
    for name, column in own.items():
        texts[name] = _filled(plain(column), shared.get(name))
    return Rows(
        count=columns.num_rows,
        stream=batch.stream,
        body=columns.column(BODY),
        position=columns.column(POSITION).cast(pa.int64()),
        timestamp_ns=_timestamps(columns, batch.timestamp_ns),
        host=_text(texts.pop(HOST, None)),
        priority=_text(texts.pop(PRIORITY, None)),
        attributes=dict(sorted(texts.items())),
    )


def _timestamps(columns: pa.RecordBatch, default_ns: int) -> int | pa.Array:
    ns = timestamps_ns(columns.column(TIMESTAMP)) if TIMESTAMP in columns.schema.names else None
    return default_ns if ns is None else pc.fill_null(ns, default_ns)


def _filled(column: pa.Array, default: str | None) -> pa.Array:
    if default is None:
        return column
    # Text even where no row lacks a value: types follow from the columns, never from the values.
    return pc.fill_null(column.cast(pa.string()), well_formed(default))


def _text(value: Text) -> Text:
    return value.cast(pa.string()) if isinstance(value, pa.Array) else value


def timestamps_ns(column: pa.Array) -> pa.Array | None:
    """A column of times (or of integers, taken as ns) as int64 ns since 1970 UTC; None for any other type."""
    if pa.types.is_timestamp(column.type):
        # Unsafe: a time beyond what 64 bits of ns hold (1677 to 2262) must not stop the sink.
        return column.cast(pa.timestamp("ns", column.type.tz), safe=False).cast(pa.int64())
    return column.cast(pa.int64(), safe=False) if pa.types.is_integer(column.type) else None


def plain(column: pa.Array) -> pa.Array:
    """A column as string, int64, double or boolean."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return column
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        return column.cast(pa.float64())
    text = as_text(column)
    return readable(text) if pa.types.is_binary(text.type) else text


def as_text(column: pa.Array) -> pa.Array:
    """A column of any type as string; binary stays binary, as it may not be UTF-8."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        return column
    try:
        if pa.types.is_dictionary(kind):
            return as_text(column.dictionary_decode())
        if (
            pa.types.is_large_binary(kind)
            or pa.types.is_fixed_size_binary(kind)
            or pa.types.is_binary_view(kind)
        ):
            return column.cast(pa.binary())
        return column.cast(pa.string())
    except pa.ArrowNotImplementedError:  # a nested type: rare, and not worth more than Python's own notation
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())


def is_utf8(column: pa.Array) -> bool:
    """Whether every value of a binary column is UTF-8."""
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def readable(column: pa.Array) -> pa.Array:
    """A binary column as text; bytes that are not UTF-8 as `\\xNN`. One Python step an event only if there are such."""
    if is_utf8(column):
        return column.cast(pa.string())
    values = (
        None if value is None else value.decode(errors="backslashreplace") for value in column.to_pylist()
    )
    return pa.array(values, pa.string())


def well_formed(text: str) -> str:
    """Text from outside, with what UTF-8 can't carry (lone surrogates) as `\\udcNN`."""
    return text.encode(errors="backslashreplace").decode()


def spread(value: Text, count: int) -> pa.Array:
    """One text for all rows, or an array, as a string (or typed) array."""
    if isinstance(value, pa.Array):
        return value
    return pa.repeat(pa.scalar(None if value is None else well_formed(value), pa.string()), count)
