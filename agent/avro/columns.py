"""Events of the Avro RPC as columns: each header is one, as text; those that mean something to Qanat have their types."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import pyarrow as pa

from agent.avro.datum import Received
from agent.live.framing import SizePolicy
from qanat import limits
from qanat.columns import BODY, POSITION, TIMESTAMP, TIMESTAMP_TYPE
from qanat.component import Events

# Where the time of an event is, in ms since 1970, the better one first: NG's interceptors, its appender for log4j.
TIMES = ("timestamp", "flume.client.log4j.timestamp")

# What a header is called that has the name of a column of ours, or a value that this column can't have.
PREFIX = "header."

_MS_MAX = (1 << 63) // 1_000_000 - 1  # what fits into nanoseconds


def events_of(parts: Sequence[Received], policy: SizePolicy, host: str) -> list[Events]:
    """Neighbours with the same headers are one batch."""
    made: list[Events] = []
    cut = [_cut(part, policy) for part in parts]
    for _, alike in groupby(cut, key=lambda part: tuple(sorted(part.headers))):
        for group in _small(alike):
            columns = _columns(group)
            made.append(Events(columns, columns.num_rows, {"host": host}))
    return made


def _small(parts: Iterable[Received]) -> Iterable[list[Received]]:
    """Groups of few enough events for columns of moderate size."""
    group: list[Received] = []
    cells = 0
    for part in parts:
        cells += (len(part.headers) + 1) * len(part.bodies)
        if group and cells > limits.MIB:
            yield group
            group, cells = [], (len(part.headers) + 1) * len(part.bodies)
        group.append(part)
    if group:
        yield group


def _cut(part: Received, policy: SizePolicy) -> Received:
    """With bodies that are no larger than they may be."""
    if max(map(len, part.bodies), default=0) <= policy.event_bytes:
        return part
    pieces = [policy.cut(body) for body in part.bodies]
    firsts, rows = [], 0
    for each in pieces:
        firsts.append(rows)
        rows += len(each)
    headers = {
        name: {firsts[row] + n: value for row, value in values.items() for n in range(len(pieces[row]))}
        for name, values in part.headers.items()
    }
    return Received([piece for each in pieces for piece in each], headers, part.size_bytes)


def _columns(parts: Sequence[Received]) -> pa.RecordBatch:
    bodies = [body for part in parts for body in part.bodies]
    texts = {name: _values(parts, name) for name in parts[0].headers}
    columns: dict[str, pa.Array] = {BODY: pa.array(bodies, pa.binary())}
    times = [_times(texts[name]) for name in TIMES if name in texts]
    if times:
        columns[TIMESTAMP] = pa.array(
            [next((ns for ns in each if ns is not None), None) for each in zip(*times, strict=True)],
            TIMESTAMP_TYPE,
        )
    for name, values in texts.items():
        if name == TIMESTAMP:
            unread = [
                None if ns is not None else text for ns, text in zip(_times(values), values, strict=True)
            ]
            if any(text is not None for text in unread):
                columns[PREFIX + name] = pa.array(unread, pa.string())
        else:
            columns[PREFIX + name if name in ("", BODY, POSITION) else name] = pa.array(values, pa.string())
    fields = [pa.field(name, array.type, nullable=name != BODY) for name, array in columns.items()]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _values(parts: Sequence[Received], name: str) -> list[str | None]:
    values: list[str | None] = []
    for part in parts:
        get: Callable[[int], str | None] = part.headers[name].get
        values += map(get, range(len(part.bodies)))
    return values


def _times(texts: Sequence[str | None]) -> list[int | None]:
    """Nanoseconds; None where it is no number of milliseconds."""
    return [_time_ns(text) for text in texts]


def _time_ns(text: str | None) -> int | None:
    if text is None or not text.isdecimal() or len(text) > 19:
        return None
    ms = int(text)
    return ms * 1_000_000 if ms <= _MS_MAX else None
