"""A source whose batches pass decorators before anybody sees them. To its owner it is a source like any other.

Positions are the source's own, so seeks, acknowledgements and state pass through. What a decorator makes of a batch may be
larger than a batch may be, and so may what came with attributes, as messages of Kafka with many headers; then it goes on in
several, each with its part of the positions. A collector takes none that is too large, however often it is sent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace

import structlog

from qanat import limits
from qanat.batch import Batch
from qanat.chain import ERROR, Chain
from qanat.component import Context, Source, StreamEvent
from qanat.errors import RetryableError

log = structlog.get_logger(__name__)

# In columns, as counted by their buffers; the wire adds a schema to that, and `BATCH_BYTES_MAX` may not be exceeded there.
PART_BYTES_MAX = 3 * limits.MIB

RETRY_S = 1.0  # between attempts of a decorator that can't do its work now, unless it says how long

TOO_LARGE = "events_too_large"  # counted: an event, with its attributes, larger than any batch may be


class DecoratedSource(Source):
    """`source` behind `chain`. It is open and closed with it."""

    def __init__(self, source: Source, chain: Chain, context: Context) -> None:
        super().__init__(None, context)
        self._source = source
        self._chain = chain
        self._raw: Batch | None = None  # read, and not decorated yet
        self._ready: deque[Batch] = deque()
        self._retry_at_s = 0.0
        self._is_held_back = False
        self._woken = threading.Event()

    def open(self) -> None:
        self._chain.open()
        self._source.open()

    def recover(self, known: Mapping[str, int]) -> None:
        self._source.recover(known)

    def knows_its_streams(self) -> bool:
        return self._source.knows_its_streams()

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        if self._ready:
            return self._source.poll(0.0)
        pause_s = self._pause_s()
        if pause_s <= 0:
            return self._source.poll(timeout_s)
        news = self._source.poll(0.0)
        if not news:
            self._woken.wait(min(pause_s, timeout_s))
            self._woken.clear()
        return news

    def seek(self, stream: str, position: int) -> None:
        if self._raw is not None and self._raw.stream == stream:
            self._raw = None
        if any(batch.stream == stream for batch in self._ready):
            self._ready = deque(batch for batch in self._ready if batch.stream != stream)
        self._source.seek(stream, position)

    def read(self, max_bytes: int) -> Batch | None:
        if self._ready:
            return self._ready.popleft()
        self._is_held_back = self._pause_s() > 0
        if self._is_held_back:
            return None
        if self._raw is None:
            self._raw = self._source.read(min(max_bytes, self._chain.read_bytes_max()))
        if self._raw is None:
            return None
        try:
            decorated = self._chain.apply(self._raw)
        except RetryableError as error:
            self._later(error)
            return None
        self._raw = None
        self._ready.extend(self._parts(decorated))
        return self._ready.popleft()

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        self._source.acknowledge(positions)

    def save(self) -> None:
        self._source.save()

    def wake(self) -> None:
        self._source.wake()
        self._woken.set()

    def lag_bytes(self) -> int:
        return self._source.lag_bytes()

    def is_over(self) -> bool:
        return self._raw is None and not self._ready and self._source.is_over()

    def is_held_back(self) -> bool:
        return self._is_held_back or self._source.is_held_back()

    def close(self) -> None:
        try:
            self._source.close()
        finally:
            self._chain.close()

    def _pause_s(self) -> float:
        """A batch that was read already waits for its next attempt; else nothing is read while a limit says so."""
        if self._raw is not None:
            return self._retry_at_s - self.context.clock.monotonic_s()
        return self._chain.pause_s()

    def _later(self, error: RetryableError) -> None:
        pause_s = error.retry_after_s or RETRY_S
        self._retry_at_s = self.context.clock.monotonic_s() + pause_s
        self._is_held_back = True
        self.context.count("decorator_retries", 1)
        log.debug("decorator_retries", node=self.context.logical_node, error=str(error), retry_s=pause_s)

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        if isinstance(batch.payload, bytes) or _size_bytes(batch) <= PART_BYTES_MAX:
            yield batch
        elif batch.count == 1:
            yield self._shortened(batch)
        else:
            from qanat import columns

            payload = columns.used(batch.payload)
            batch = replace(batch, payload=payload)
            middle = payload.column(columns.POSITION)[batch.count // 2].as_py()
            yield from self._parts(columns.slice_positions(batch, batch.start, middle))
            yield from self._parts(columns.slice_positions(batch, middle, batch.end))

    def _shortened(self, batch: Batch) -> Batch:
        """An event that alone is too large: without its attributes, and as much of its body as an event may have."""
        from qanat import columns

        assert not isinstance(batch.payload, bytes)
        self.context.count(TOO_LARGE, 1)
        why = f"with its attributes it had {_size_bytes(batch)} bytes, limit {PART_BYTES_MAX}; they were left out"
        return replace(
            batch,
            payload=columns.bare(batch.payload, limits.EVENT_BYTES_MAX),
            attributes={**batch.attributes, ERROR: why},
        )


def _size_bytes(batch: Batch) -> int:
    """With the names of its columns, which are in each batch on the wire."""
    assert not isinstance(batch.payload, bytes)
    return batch.payload_bytes + sum(len(name.encode()) for name in batch.payload.schema.names)
