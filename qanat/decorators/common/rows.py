"""The events of a COLUMNS batch as columns: reading and setting attributes and bodies, with vector operations only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops
from qanat.batch import Batch
from qanat.columns import BODY, HOST, POSITION, PRIORITY, REQUIRED, TIMESTAMP, TIMESTAMP_TYPE

# Rows whose bytes are UTF-8, for a pattern that looks at bytes (RFC 3629, section 4).
_UTF8 = (
    r"(?s)^(?:[\x00-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}"
    r"|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})*$"
)

STANDARD = (BODY, POSITION, TIMESTAMP, HOST, PRIORITY)


def record(batch: Batch) -> pa.RecordBatch:
    """The payload of a batch that is known to be in columns."""
    assert not isinstance(batch.payload, bytes), "the chain converts for decorators that don't take lines"
    return batch.payload


def bodies(batch: Batch) -> pa.Array:
    """Binary."""
    return record(batch).column(BODY)


def with_bodies(batch: Batch, new: pa.Array) -> Batch:
    """The batch with other bodies; itself when they are the same."""
    columns = record(batch)
    if new.equals(columns.column(BODY)):
        return batch
    index = columns.schema.get_field_index(BODY)
    return replace(batch, payload=columns.set_column(index, REQUIRED.field(BODY), new))


def with_columns(batch: Batch, columns: Mapping[str, pa.Array]) -> Batch:
    """The batch with these attributes of each event; null: it has what the batch has, if anything."""
    payload = record(batch)
    for name, column in columns.items():
        index = payload.schema.get_field_index(name)
        if index < 0:
            payload = payload.append_column(name, column)
        else:
            payload = payload.set_column(index, name, column)
    return replace(batch, payload=payload)


def with_found(batch: Batch, columns: Mapping[str, pa.Array]) -> Batch:
    """As `with_columns`; where nothing was found, which is null, an event keeps what it had."""
    names = record(batch).schema.names
    merged = {
        name: ops.coalesce(column, texts(record(batch).column(name)))
        if name in names and column.null_count
        else column
        for name, column in columns.items()
    }
    return with_columns(batch, merged)


def without(batch: Batch, names: Iterable[str]) -> Batch:
    """The batch without these attributes."""
    gone = set(names)
    attributes = {name: value for name, value in batch.attributes.items() if name not in gone}
    if isinstance(batch.payload, bytes):
        return replace(batch, attributes=attributes)
    kept = [name for name in batch.payload.schema.names if name not in gone]
    payload = batch.payload if len(kept) == batch.payload.num_columns else batch.payload.select(kept)
    return replace(batch, attributes=attributes, payload=payload)


def attribute(batch: Batch, name: str) -> pa.Array:
    """The attribute of each event as text; null where there is none."""
    shared = batch.attributes.get(name)
    if name not in record(batch).schema.names:
        return pa.repeat(pa.scalar(shared, pa.string()), batch.count)
    own = texts(record(batch).column(name))
    return own if shared is None else ops.fill_null(own, shared)


def subject(batch: Batch, name: str | None) -> pa.Array:
    """What a decorator looks at: the bodies (binary), or an attribute (text)."""
    return bodies(batch) if name is None else attribute(batch, name)


def times(batch: Batch) -> pa.Array:
    """The timestamp of each event."""
    own = record(batch).schema.get_field_index(TIMESTAMP)
    default = pa.scalar(batch.timestamp_ns, pa.int64()).cast(TIMESTAMP_TYPE)
    if own < 0:
        return pa.repeat(default, batch.count)
    return ops.fill_null(record(batch).column(own).cast(TIMESTAMP_TYPE), default)


def texts(column: pa.Array) -> pa.Array:
    """A column of any type as text; bytes that are not UTF-8 as `\\xNN`."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_dictionary(kind):
        return texts(column.dictionary_decode())
    if pa.types.is_boolean(kind) or not pa.types.is_binary(kind):
        return column.cast(pa.string())
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:  # rare: a Python step for each value of such a batch
        values = [
            None if value is None else value.decode(errors="backslashreplace") for value in column.to_pylist()
        ]
        return pa.array(values, pa.string())


def by_encoding(column: pa.Array, do: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """`do(column)` over text where the values are UTF-8, and over bytes where they are not, so that what a pattern finds in an
    event does not depend on the others of its batch. Both must have results of one type but for text and bytes."""
    if pa.types.is_string(column.type):
        return do(column)
    try:
        return do(column.cast(pa.string()))
    except pa.ArrowInvalid:
        pass
    is_text = pc.match_substring_regex(column, _UTF8)
    as_text = do(ops.if_else(is_text, column, b"").cast(pa.string()))
    as_bytes = do(ops.if_else(is_text, b"", column))
    if pa.types.is_string(as_text.type):
        as_text = as_text.cast(pa.binary())
    return ops.if_else(is_text, as_text, as_bytes)
