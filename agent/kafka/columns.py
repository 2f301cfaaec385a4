"""Messages of Kafka as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from qanat.columns import BODY, POSITION, REQUIRED, TIMESTAMP, TIMESTAMP_TYPE

KEY = "key"

# Headers of a batch: each is a column. What has more of them, most likely makes them up; the first ones are kept.
HEADERS_MAX = 64

# What a header is called that has the name of another column.
PREFIX = "header."
_TAKEN = frozenset((BODY, POSITION, TIMESTAMP, KEY, ""))


def columns_of(
    messages: Sequence[Any], event_bytes: int, count: Callable[[str, int], None]
) -> pa.RecordBatch:
    """Value, offset, time, key and headers of each. A message without a value is an empty event."""
    bodies = [message.value() or b"" for message in messages]
    if max(map(len, bodies)) > event_bytes:
        count("events_truncated", sum(len(body) > event_bytes for body in bodies))
        bodies = [body[:event_bytes] for body in bodies]
    arrays = [
        pa.array(bodies, REQUIRED.field(BODY).type),
        pa.array([message.offset() for message in messages], pa.uint64()),
        pa.array([_time_ns(*message.timestamp()) for message in messages], TIMESTAMP_TYPE),
    ]
    fields = [*REQUIRED, pa.field(TIMESTAMP, TIMESTAMP_TYPE)]
    texts: dict[str, list[str | None]] = {}
    for row, message in enumerate(messages):
        if (key := message.key()) is not None:
            _set(texts, KEY, row, key, len(messages))
        for name, value in message.headers() or ():
            _set(texts, PREFIX + name if name in _TAKEN else name, row, value, len(messages))
    if len(texts) > HEADERS_MAX + 1:
        count("headers_dropped", len(texts) - HEADERS_MAX - 1)
    for name, values in list(texts.items())[: HEADERS_MAX + 1]:
        arrays.append(pa.array(values, pa.string()))
        fields.append(pa.field(name, pa.string()))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _set(
    texts: dict[str, list[str | None]], name: str, row: int, value: bytes | str | None, rows: int
) -> None:
    if name not in texts:
        if len(texts) > 4 * HEADERS_MAX:
            return
        texts[name] = [None] * rows
    texts[name][row] = value.decode(errors="replace") if isinstance(value, bytes) else value


def _time_ns(kind: int, time_ms: int) -> int | None:
    """Kafka's producers and brokers say milliseconds; kind 0 is that nobody did."""
    return time_ms * 1_000_000 if kind and 0 <= time_ms < (1 << 63) // 1_000_000 else None
