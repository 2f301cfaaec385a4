"""Messages of Kafka as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, repeat
from operator import itemgetter, methodcaller, mul
from typing import Any

import pyarrow as pa

from qanat.columns import BODY, POSITION, REQUIRED, TIMESTAMP, TIMESTAMP_TYPE

KEY = "key"

# Headers of a batch: each is a column. What has more of them, most likely makes them up; the first ones are kept.
HEADERS_MAX = 64

# What a header is called that has the name of another column.
PREFIX = "header."
_TAKEN = frozenset((BODY, POSITION, TIMESTAMP, KEY, ""))

_NS_A_MS = 1_000_000
_MS_MAX = (1 << 63) // _NS_A_MS - 1  # what fits into nanoseconds

_Text = bytes | str | None

# Called for all messages by `map`, which costs a third of statements for each.
_VALUE, _OFFSET, _TIMESTAMP = methodcaller("value"), methodcaller("offset"), methodcaller("timestamp")
_KEY, _HEADERS = methodcaller("key"), methodcaller("headers")


def columns_of(
    messages: Sequence[Any], event_bytes: int, count: Callable[[str, int], None]
) -> pa.RecordBatch:
    """Value, offset, time, key and headers of each. A message without a value is an empty event."""
    bodies = [*map(_VALUE, messages)]
    if None in bodies:
        bodies = [body or b"" for body in bodies]
    if max(map(len, bodies)) > event_bytes:
        count("events_truncated", sum(len(body) > event_bytes for body in bodies))
        bodies = [body[:event_bytes] for body in bodies]
    arrays = [
        pa.array(bodies, REQUIRED.field(BODY).type),
        pa.array([*map(_OFFSET, messages)], pa.uint64()),
        _times(messages),
    ]
    fields = [*REQUIRED, pa.field(TIMESTAMP, TIMESTAMP_TYPE)]
    texts = _texts(messages)
    if len(texts) > HEADERS_MAX + 1:
        count("headers_dropped", len(texts) - HEADERS_MAX - 1)
    for name, values in list(texts.items())[: HEADERS_MAX + 1]:
        arrays.append(_text(values))
        fields.append(pa.field(name, pa.string()))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _times(messages: Sequence[Any]) -> pa.TimestampArray:
    """Kafka's producers and brokers say milliseconds; kind 0 is that nobody did."""
    kinds, times_ms = zip(*map(_TIMESTAMP, messages), strict=True)
    if all(kinds) and min(times_ms) >= 0 and max(times_ms) <= _MS_MAX:
        return pa.array([*map(mul, times_ms, repeat(_NS_A_MS))], TIMESTAMP_TYPE)
    return pa.array(
        [
            time_ms * _NS_A_MS if kind and 0 <= time_ms <= _MS_MAX else None
            for kind, time_ms in zip(kinds, times_ms, strict=True)
        ],
        TIMESTAMP_TYPE,
    )


def _texts(messages: Sequence[Any]) -> dict[str, Sequence[_Text]]:
    """Keys and headers by the names of their columns, in the order in which they come."""
    keys = [*map(_KEY, messages)]
    headers = [each or () for each in map(_HEADERS, messages)]
    width = len(headers[0])
    names = [name for name, _ in headers[0]]
    pairs = [*chain.from_iterable(headers)]
    # A producer's messages mostly have the same headers in the same order.
    are_alike = {*map(len, headers)} == {width} and [*map(itemgetter(0), pairs)] == names * len(messages)
    if width > HEADERS_MAX or not are_alike:
        return _of_each(keys, headers)
    values = [*map(itemgetter(1), pairs)]
    texts: dict[str, Sequence[_Text]] = {KEY: keys} if keys[0] is not None else {}
    texts |= {_free(name): values[at::width] for at, name in enumerate(names)}
    if keys.count(None) < len(keys):
        texts.setdefault(KEY, keys)
    return texts


def _of_each(
    keys: Sequence[_Text], headers: Sequence[Sequence[tuple[str, _Text]]]
) -> dict[str, Sequence[_Text]]:
    texts: dict[str, list[_Text]] = {}
    for row, (key, pairs) in enumerate(zip(keys, headers, strict=True)):
        if key is not None:
            _set(texts, KEY, row, key, len(keys))
        for name, value in pairs:
            _set(texts, _free(name), row, value, len(keys))
    return {**texts}


def _free(name: str) -> str:
    return PREFIX + name if name in _TAKEN else name


def _set(texts: dict[str, list[_Text]], name: str, row: int, value: _Text, rows: int) -> None:
    if name not in texts:
        if len(texts) > 4 * HEADERS_MAX:
            return
        texts[name] = [None] * rows
    texts[name][row] = value


def _text(values: Sequence[_Text]) -> pa.StringArray:
    """What is not UTF-8 gets replacement characters."""
    try:
        return pa.array(values, pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values],
            pa.string(),
        )
