"""A sample of the events that pass a logical node, taken where its batches pass, without holding them up.

While nobody looks, a batch costs one look at an attribute. While somebody does, at most a few events of a batch are copied, up
to a rate; all the others are only counted. Nothing here waits for anybody: what finds no room is dropped, and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from qanat.batch import Batch
from qanat.clock import Clock, SystemClock

log = structlog.get_logger(__name__)

# More than that nobody reads; 100 events a second cost some milliseconds of it.
EVENTS_S_MAX = 100.0

# Of one batch, so that a sample of a fast flow is spread over its batches.
BATCH_EVENTS_MAX = 20

# What waits to be sent to a master: two seconds of the largest rate, and 2 MB when all of them are as large as may be.
RING_EVENTS_MAX = 200

# Of an event that is shown: a terminal's worth. Attributes together, by their names and values.
BODY_BYTES_MAX, ATTRIBUTES_BYTES_MAX = 4096, 4096

# Payload that is searched for a text in a second: some 2% of a core.
SEARCH_BYTES_S_MAX = 32 << 20


@dataclass(frozen=True, slots=True)
class Sampled:
    """One event. `body`: at most BODY_BYTES_MAX of its `body_bytes`."""

    body: bytes
    body_bytes: int
    timestamp_ns: int
    stream: str
    position: int
    attributes: Mapping[str, str]


class Sampler:
    """What one tap has taken and not passed on. `contains`: only events with these bytes in their body.

    *Thread*: any."""

    def __init__(self, contains: bytes = b"", clock: Clock | None = None) -> None:
        self.failure = ""
        self._contains = contains
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # held for as long as it takes to copy a few events
        self._ring: deque[Sampled] = deque()
        self._passed = 0  # since the last `drain`, and not in the ring
        self._events = _Allowance(EVENTS_S_MAX)
        self._searched = _Allowance(SEARCH_BYTES_S_MAX)

    def take(self, batch: Batch) -> None:
        """A batch passes."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            room = min(BATCH_EVENTS_MAX, RING_EVENTS_MAX - len(self._ring), int(self._events.left(now_s)))
            self._passed += batch.count
            if room <= 0 or not batch.count:
                return
            if self._contains:
                if self._searched.left(now_s) <= 0:
                    return
                self._searched.use(batch.payload_bytes)
            taken = list(_events(batch, room, self._contains))
            self._events.use(len(taken))
            self._ring.extend(taken)
            self._passed -= len(taken)

    def drain(self, events_max: int) -> tuple[list[Sampled], int]:
        """The oldest of what was taken, and how many events passed without being taken since the last call."""
        with self._lock:
            taken = [self._ring.popleft() for _ in range(min(events_max, len(self._ring)))]
            passed, self._passed = self._passed, 0
            return taken, passed


class _Allowance:
    """So much a second, and as much at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s = self._left = per_s
        self._at_s: float | None = None

    def left(self, now_s: float) -> float:
        """What may be used now."""
        if self._at_s is not None:
            self._left = min(self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return self._left

    def use(self, amount: float) -> None:
        """It may be more than is left; later uses wait for it."""
        self._left -= amount


class TapPoint:
    """Where the batches of one logical node pass: `if point.sample is not None: point.sample(batch)`.

    *Thread*: the event loop adds and removes; whoever passes batches calls `sample`."""

    __slots__ = ("_samplers", "sample")

    def __init__(self) -> None:
        self.sample: Callable[[Batch], None] | None = None
        self._samplers: tuple[Sampler, ...] = ()

    def add(self, sampler: Sampler) -> None:
        """From now on it takes from what passes."""
        self._set((*self._samplers, sampler))

    def remove(self, sampler: Sampler) -> None:
        """No more. Idempotent."""
        self._set(tuple(each for each in self._samplers if each is not sampler))

    def _set(self, samplers: tuple[Sampler, ...]) -> None:
        self._samplers = samplers
        self.sample = self._sample if samplers else None

    def _sample(self, batch: Batch) -> None:
        for sampler in self._samplers:
            if sampler.failure:
                continue
            try:
                sampler.take(batch)
            except Exception as error:  # whatever is wrong with looking: the events go their way
                log.exception("tap_failed")
                sampler.failure = f"{type(error).__name__}: {error}"


class TapPoints:
    """The points of one program, by logical node. They stay: a logical node that is reconfigured passes the same."""

    def __init__(self) -> None:
        self._points: dict[str, TapPoint] = {}

    def at(self, logical_node: str) -> TapPoint:
        """Where the batches of this one pass, or will."""
        return self._points.setdefault(logical_node, TapPoint())


def _events(batch: Batch, events_max: int, contains: bytes) -> Iterator[Sampled]:
    if isinstance(batch.payload, bytes):
        return _lines(batch, batch.payload, events_max, contains)
    return _rows(batch, batch.payload, events_max, contains)


def _lines(batch: Batch, payload: bytes, events_max: int, contains: bytes) -> Iterator[Sampled]:
    is_numbered = batch.end - batch.start == batch.count  # a position is an event's number, not its offset
    attributes = _limited(batch.attributes)
    at = number = 0
    for _ in range(events_max):
        begin = at
        if contains:
            hit = payload.find(contains, at)
            if hit < 0:
                return
            begin = max(at, payload.rfind(b"\n", at, hit) + 1)
            number += payload.count(b"\n", at, begin)
        end = payload.find(b"\n", begin)
        if end < 0:
            return
        position = batch.start + (number if is_numbered else begin)
        body = payload[begin : min(end, begin + BODY_BYTES_MAX)]
        yield Sampled(body, end - begin, batch.timestamp_ns, batch.stream, position, attributes)
        at, number = end + 1, number + 1


def _rows(batch: Batch, rows: Any, events_max: int, contains: bytes) -> Iterator[Sampled]:
    from qanat import columns  # Arrow: loaded already by whoever made this batch

    if contains:
        numbers = columns.find_bodies(rows, contains, events_max)
    else:
        numbers = list(range(min(events_max, rows.num_rows)))
    others = [
        name for name in rows.schema.names if name not in (columns.BODY, columns.POSITION, columns.TIMESTAMP)
    ]
    has_timestamp = columns.TIMESTAMP in rows.schema.names
    for number in numbers:
        body = rows.column(columns.BODY)[number].as_buffer()
        timestamp = rows.column(columns.TIMESTAMP)[number].value if has_timestamp else None
        own = {name: rows.column(name)[number].as_py() for name in others}
        texts = {name: _text(value) for name, value in own.items() if value is not None}
        yield Sampled(
            body=bytes(memoryview(body)[:BODY_BYTES_MAX]),
            body_bytes=body.size,
            timestamp_ns=batch.timestamp_ns if timestamp is None else timestamp,
            stream=batch.stream,
            position=rows.column(columns.POSITION)[number].as_py(),
            attributes=_limited({**batch.attributes, **texts}),
        )


def _text(value: object) -> str:
    return value[:ATTRIBUTES_BYTES_MAX].decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _limited(attributes: Mapping[str, str]) -> dict[str, str]:
    """As many as there is room for, in their order; the one that has too little is cut."""
    left, found = ATTRIBUTES_BYTES_MAX, {}
    for name, value in attributes.items():
        left -= len(name)
        if left <= 0:
            break
        found[name] = value[:left]
        left -= len(found[name])
    return found
