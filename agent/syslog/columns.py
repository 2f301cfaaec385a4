"""The columns of syslog messages, and the small vector operations that parsers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops
from qanat.columns import BODY, HOST, PRIORITY, TIMESTAMP, TIMESTAMP_TYPE

SEVERITY = "severity"
FACILITY = "facility"
APP = "app"
PROCID = "procid"
MSGID = "msgid"
STRUCTURED_DATA = "structured_data"
ERROR = "syslog_error"


# RFC 5424, 6.2.1, as logger and rsyslog call them.
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
PRIORITY_MAX = len(FACILITIES) * len(SEVERITIES) - 1  # a number above it is no priority

# What Flume OG made of a severity.
PRIORITIES = ("FATAL", "FATAL", "FATAL", "ERROR", "WARN", "INFO", "INFO", "DEBUG")

_FAR = 1 << 30  # behind the end of any value

# Of every batch, in this order; those of structured data come after them.
TYPES = {
    BODY: pa.binary(),
    TIMESTAMP: TIMESTAMP_TYPE,
    HOST: pa.string(),
    PRIORITY: pa.string(),
    SEVERITY: pa.string(),
    FACILITY: pa.string(),
    APP: pa.string(),
    PROCID: pa.string(),
    MSGID: pa.string(),
    STRUCTURED_DATA: pa.string(),
    ERROR: pa.string(),
}
# Left out of a batch in which nobody has one.
RARE = (STRUCTURED_DATA, ERROR)


def split(values: pa.Array, pattern: bytes, splits_max: int) -> pa.ListArray:
    """Each value at the first `splits_max` places of the pattern."""
    return pc.split_pattern(values, pattern=pattern, max_splits=splits_max)


def part(lists: pa.ListArray, number: int) -> pa.Array:
    """This element of each list; null where there is none."""
    offsets = lists.offsets
    first, lengths = offsets.slice(0, len(lists)), lists.value_lengths()
    at = pc.add(first, pa.scalar(number, pa.int32()))
    has = pc.greater(lengths, pa.scalar(number, pa.int32()))
    if not is_all(has):
        at = pc.if_else(has, at, pa.scalar(None, pa.int32()))
    return lists.values.take(at)


def after(values: pa.Array, count: int) -> pa.Array:
    """Each value without its first `count` bytes. Arrow's `binary_slice` fails without an end, or beyond that of a value."""
    return pc.binary_replace_slice(values, start=0, stop=count, replacement=b"")


def before(values: pa.Array, count: int) -> pa.Array:
    """The first `count` bytes of each value; all but the last `-count`."""
    return pc.binary_replace_slice(values, start=count, stop=_FAR, replacement=b"")


def is_all(mask: pa.BooleanArray) -> bool:
    """Whether it holds for each; null is no."""
    return bool(mask.true_count == len(mask))


def is_any(mask: pa.BooleanArray) -> bool:
    """Whether it holds for one at least."""
    return bool(mask.true_count)


def without(values: pa.Array, unwanted: pa.BooleanArray) -> pa.Array:
    """Null where unwanted."""
    return pc.if_else(unwanted, pa.scalar(None, values.type), values) if is_any(unwanted) else values


def unless_nil(values: pa.Array) -> pa.Array:
    """`-` is no value."""
    return without(values, ops.equal(values, b"-"))


def text(values: pa.Array) -> pa.Array:
    """As text; what is not UTF-8 gets replacement characters."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        return mapped(values, lambda value: value.decode(errors="replace"), pa.string())


def mapped(values: pa.Array, function: Callable[[Any], Any], kind: pa.DataType) -> pa.Array:
    """`function` of each value, called once for each that is different: for what has few of them in a batch."""
    encoded = values.dictionary_encode()
    results = [function(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(results, kind).take(encoded.indices)


def prefixed(values: pa.Array, prefix: bytes) -> pa.Array:
    """Without the prefix, where there is one."""
    has = pc.starts_with(values, pattern=prefix)
    if not is_any(has):
        return values
    return pc.if_else(has, after(values, len(prefix)), values)


def batch(count: int, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """All columns of `TYPES`, null where they are not given, and what else is given."""
    arrays: dict[str, pa.Array] = {}
    for name, kind in TYPES.items():
        values = columns.get(name)
        arrays[name] = pa.nulls(count, kind) if values is None else _as(values, kind)
    arrays |= {name: values for name, values in columns.items() if name not in TYPES}
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _as(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if values.type == kind:
        return values
    return text(values) if kind == pa.string() else values.cast(kind)


def tidied(made: pa.RecordBatch) -> pa.RecordBatch:
    """Without the rare columns that nobody has; the body is in all rows."""
    unused = [name for name in RARE if made.column(name).null_count == made.num_rows]
    made = made.drop_columns(unused) if unused else made
    return made.cast(pa.schema([_field(field) for field in made.schema]))


def _field(field: pa.Field) -> pa.Field:
    return field.with_nullable(field.name != BODY)


def named(numbers: pa.Array, names: Sequence[str]) -> pa.Array:
    """The names with these numbers."""
    return pa.array(names, pa.string()).take(numbers)
