"""Events of the Avro RPC as columns: each header is one, as text; those that mean something to Qanat have their types."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from agent.avro.datum import Received
from agent.live.framing import SizePolicy
from qanat import limits
from qanat.columns import BODY, POSITION, TIMESTAMP, TIMESTAMP_TYPE
from qanat.component import Events

# Where the time of an event is, in ms since 1970, the better one first: NG's interceptors, its appender for log4j.
TIMES = ("timestamp", "flume.client.log4j.timestamp")

# What a header is called that has the name of a column of ours, or a value that this column can't have.
PREFIX = "header."

# With their types: to find out the type of a Python value Arrow looks for modules each time, for 0.3 ms.
_NS_A_MS = pa.scalar(1_000_000, pa.int64())
_MS_MAX = pa.scalar((1 << 63) // 1_000_000 - 1, pa.uint64())  # what fits into nanoseconds
_DIGITS_MAX = pa.scalar(
    19, pa.int32()
)  # of a number of milliseconds, with zeros before it; so many fit into 64 bits
_NO_TEXT, _NO_NUMBER = pa.scalar(None, pa.string()), pa.scalar(None, pa.uint64())


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
    if (pc.max(pc.binary_length(part.bodies)).as_py() or 0) <= policy.event_bytes:
        return part
    pieces = [policy.cut(body) for body in part.bodies.to_pylist()]
    rows = pa.array([row for row, each in enumerate(pieces) for _ in each], pa.int32())
    headers = {name: values.take(rows) for name, values in part.headers.items()}
    return Received(
        pa.array([piece for each in pieces for piece in each], pa.binary()), headers, part.size_bytes
    )


def _columns(parts: Sequence[Received]) -> pa.RecordBatch:
    columns: dict[str, pa.Array] = {BODY: pa.concat_arrays([part.bodies for part in parts])}
    texts = {name: pa.concat_arrays([part.headers[name] for part in parts]) for name in parts[0].headers}
    times = [times_of(texts[name]) for name in TIMES if name in texts]
    if times:
        columns[TIMESTAMP] = pc.coalesce(*times)
    for name, values in texts.items():
        if name == TIMESTAMP:
            unread = _unread(values, times[0])
            if unread.null_count < len(unread):
                columns[PREFIX + name] = unread
        else:
            columns[PREFIX + name if name in ("", BODY, POSITION) else name] = values
    fields = [pa.field(name, array.type, nullable=name != BODY) for name, array in columns.items()]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _unread(texts: pa.StringArray, times: pa.TimestampArray) -> pa.StringArray:
    """Those that are no times."""
    return pc.if_else(pc.is_null(times), texts, _NO_TEXT)


def times_of(texts: pa.StringArray) -> pa.TimestampArray:
    """Null where it is no number of milliseconds, or one beyond the year 2262."""
    is_short = pc.less_equal(pc.utf8_length(texts), _DIGITS_MAX)
    digits = pc.if_else(pc.and_(pc.utf8_is_decimal(texts), is_short), texts, _NO_TEXT)
    if not pc.all(pc.string_is_ascii(digits)).as_py():  # null counts as if it were
        digits = pa.array([text and str(int(text)) for text in digits.to_pylist()], pa.string())
    ms = digits.cast(pa.uint64())
    ms = pc.if_else(pc.less_equal(ms, _MS_MAX), ms, _NO_NUMBER)
    return pc.multiply(ms.cast(pa.int64()), _NS_A_MS).cast(TIMESTAMP_TYPE)
