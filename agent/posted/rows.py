"""Columns of events that have a mapping of attributes each, and joining those of many requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

import pyarrow as pa

from qanat import columns, inlet
from qanat.columns import BODY, POSITION, TIMESTAMP, TIMESTAMP_TYPE
from qanat.component import Events

# Different attributes in a batch: each is a column, with a place in all of its events. A peer that makes up a name for each
# event would else make batches of millions of places.
COLUMNS_MAX = 256

# Names that events can't have as attributes, as they mean something else, get this before them.
TAKEN_PREFIX = "attribute."
TAKEN = (BODY, POSITION)

_NS_A_MS = 1_000_000
_TIMESTAMP_NS_MAX = (1 << 63) - 1  # what a signed column holds: the year 2262


class TooManyNamesError(ValueError):
    """More different attributes than columns."""


def rows(bodies: Sequence[bytes], attributes: Sequence[Mapping[str, str]]) -> pa.RecordBatch:
    """An event for each body. `timestamp` is ms since 1970, as of Flume NG, or RFC 3339; what is neither stays as
    `attribute.timestamp`. Raises TooManyNamesError."""
    names: dict[str, None] = {}
    for each in attributes:
        names.update(dict.fromkeys(each))
        if len(names) > COLUMNS_MAX:
            raise TooManyNamesError(
                f"more than {COLUMNS_MAX} different headers in a request; send fewer, or send less together"
            )
    made: dict[str, pa.Array] = {BODY: pa.array(bodies, pa.binary())}
    for name in names:
        values = [each.get(name) for each in attributes]
        if name == TIMESTAMP:
            times = [timestamp_ns(value) for value in values]
            made[TIMESTAMP] = pa.array(times, pa.int64()).cast(TIMESTAMP_TYPE)
            values = [value if time is None else None for value, time in zip(values, times, strict=True)]
            if not any(values):
                continue
        free = TAKEN_PREFIX + name if name in made or name in TAKEN else name
        made[free] = pa.array(values, pa.string())
    return record_batch(made)


def record_batch(made: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """With no nulls in the body."""
    fields = [pa.field(name, values.type, nullable=name != BODY) for name, values in made.items()]
    return pa.RecordBatch.from_arrays(list(made.values()), schema=pa.schema(fields))


def timestamp_ns(value: str | None) -> int | None:
    """None where it is none."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        found = int(value) * _NS_A_MS if len(value) < 20 else -1
        return found if 0 <= found <= _TIMESTAMP_NS_MAX else None
    try:
        moment = datetime.fromisoformat(value)
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
