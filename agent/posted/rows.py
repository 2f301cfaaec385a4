"""Columns of events that have a mapping of attributes each, and joining those of many requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, groupby, repeat
from operator import methodcaller, mul
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agent.syslog.columns import mapped
from qanat import columns, inlet
from qanat.columns import BODY, POSITION, TIMESTAMP, TIMESTAMP_TYPE
from qanat.component import Events

# Different attributes in a batch: each is a column, with a place in all of its events. A peer that makes up a name for each
# event would else make batches of millions of places.
COLUMNS_MAX = 256

# Places in the columns of a request, with something in them or not: each takes time and four bytes at least.
CELLS_MAX = 1 << 24

# Names that events can't have as attributes, as they mean something else, get this before them.
TAKEN_PREFIX = "attribute."
TAKEN = (BODY, POSITION)

_TIMESTAMP_NS_MAX = (1 << 63) - 1  # what a signed column holds: the year 2262

# What Python and Arrow read alike.
_RFC3339 = r"^\d{4}-\d\d-\d\dT([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"
_DIGITS = r"^[0-9]{1,19}$"  # what fits into 64 bits
_DIGITS_MAX = 13  # of milliseconds until the year 2262

# With their types: to find out the type of a Python value Arrow looks for modules each time, for 0.3 ms.
_NS_A_MS, _NS_A_US, _ZERO = (pa.scalar(n, pa.int64()) for n in (1_000_000, 1_000, 0))
_MS_MAX = pa.scalar(_TIMESTAMP_NS_MAX // 1_000_000, pa.uint64())
_US_MAX = pa.scalar(_TIMESTAMP_NS_MAX // 1_000, pa.int64())
_NO_TEXT, _EMPTY = pa.scalar(None, pa.string()), pa.scalar("", pa.string())
_NO_NUMBER, _NO_TIME = pa.scalar(None, pa.uint64()), pa.scalar(None, pa.int64())


class TooManyNamesError(ValueError):
    """More different attributes than columns, or than places in them."""


def rows(bodies: pa.BinaryArray, attributes: Sequence[Mapping[str, str]]) -> pa.RecordBatch:
    """An event for each body. `timestamp` is ms since 1970, as of Flume NG, or RFC 3339; what is neither stays as
    `attribute.timestamp`. Raises TooManyNamesError."""
    names = dict.fromkeys(chain.from_iterable(attributes))
    if len(names) > COLUMNS_MAX:
        raise TooManyNamesError(
            f"more than {COLUMNS_MAX} different headers in a request; send fewer, or send less together"
        )
    if len(names) * len(bodies) > CELLS_MAX:
        raise TooManyNamesError(
            f"{len(names)} different headers in {len(bodies)} events; send fewer together"
        )
    made: dict[str, pa.Array] = {BODY: bodies}
    for name in names:
        texts = [*map(methodcaller("get", name), attributes)]
        values = pa.array(texts, pa.string())
        if name == TIMESTAMP:
            times = _plain_milliseconds(texts)
            made[TIMESTAMP] = timestamps(values) if times is None else times
            values = _unread(values, made[TIMESTAMP])
            if values is None:
                continue
        free = TAKEN_PREFIX + name if name in made or name in TAKEN else name
        made[free] = values
    return record_batch(made)


def record_batch(made: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """With no nulls in the body."""
    fields = [pa.field(name, values.type, nullable=name != BODY) for name, values in made.items()]
    return pa.RecordBatch.from_arrays(list(made.values()), schema=pa.schema(fields))


def _unread(values: pa.StringArray, times: pa.TimestampArray) -> pa.StringArray | None:
    """Those that are no times; None where there is none, or they are empty."""
    if not times.null_count:
        return None
    left = pc.if_else(pc.is_null(times), values, _NO_TEXT)
    return left if pc.any(pc.not_equal(left, _EMPTY)).as_py() else None


def _plain_milliseconds(texts: Sequence[Any]) -> pa.TimestampArray | None:
    """Where all are numbers of milliseconds; else None. For a hundred of them faster than Arrow's functions."""
    if None in texts or max(map(len, texts)) > _DIGITS_MAX:
        return None
    if not "".join(texts).isascii() or not all(map(str.isdigit, texts)):
        return None
    times_ns = [*map(mul, map(int, texts), repeat(_NS_A_MS.as_py()))]
    return pa.array(times_ns, TIMESTAMP_TYPE) if max(times_ns) <= _TIMESTAMP_NS_MAX else None


def timestamps(values: pa.StringArray) -> pa.TimestampArray:
    """Null where it is none."""
    found = _milliseconds(values)
    if found.null_count > values.null_count:
        others = pc.if_else(pc.is_null(found), values, _NO_TEXT)
        found = pc.coalesce(found, _moments(others))
    return found.cast(TIMESTAMP_TYPE)


def _milliseconds(values: pa.StringArray) -> pa.Int64Array:
    """In ns; null where it is something else."""
    is_number = pc.match_substring_regex(values, pattern=_DIGITS)
    numbers = pc.if_else(is_number, values, _NO_TEXT).cast(pa.uint64())
    ms = pc.if_else(pc.less_equal(numbers, _MS_MAX), numbers, _NO_NUMBER).cast(pa.int64())
    return pc.multiply(ms, _NS_A_MS)


def _moments(values: pa.StringArray) -> pa.Int64Array:
    """In ns; null where it is nothing of ISO 8601. All at once where they are as RFC 3339 has them."""
    try:
        plain = pc.if_else(pc.match_substring_regex(values, pattern=_RFC3339), values, _NO_TEXT)
        us = plain.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    except pa.ArrowInvalid:  # the 30th of February
        us = pa.nulls(len(values), pa.int64())
    good = pc.and_(pc.greater_equal(us, _ZERO), pc.less_equal(us, _US_MAX))
    found = pc.multiply(pc.if_else(good, us, _NO_TIME), _NS_A_US)
    if found.null_count > values.null_count:
        others = pc.if_else(pc.is_null(found), values, _NO_TEXT)
        found = pc.coalesce(found, mapped(others, _moment, pa.int64()))
    return found


def _moment(value: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat(value or "")
        found = round(moment.timestamp() * 1e6) * 1000 if moment.tzinfo is not None else -1
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found <= _TIMESTAMP_NS_MAX else None


def stacked(parts: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """All rows, in order, in as few batches as `COLUMNS_MAX` allows."""
    together: list[pa.RecordBatch] = []
    names: set[str] = set()
    for part in parts:
        wanted = names.union(part.schema.names)
        if together and len(wanted) > COLUMNS_MAX:
            yield columns.stacked(together)
            together, wanted = [], set(part.schema.names)
        together.append(part)
        names = wanted
    if together:
        yield columns.stacked(together)


def joined(parts: Sequence[Events]) -> list[Events]:
    """Neighbours with the same attributes as one, of lines as well as of columns."""
    made: list[Events] = []
    for (is_lines, attributes), alike in groupby(
        parts, lambda each: (isinstance(each.payload, bytes), each.attributes)
    ):
        if is_lines:
            made += inlet.joined(list(alike), attributes)
        else:
            made += [
                Events(rows, rows.num_rows, attributes) for rows in stacked([each.payload for each in alike])
            ]
    return made
