"""The queue between the threads of a live source and the one that feeds its channel, and joining what comes out of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from qanat import limits
from qanat.batch import Batch, PayloadForm
from qanat.component import Events, Inlet, Parcel
from qanat.lines import count_lines

if TYPE_CHECKING:
    import pyarrow as pa

# A few batches: while one is parsed and put, the next ones gather. More would only be lost with the process.
INLET_BYTES_MAX = 8 * limits.MIB

# What a parcel takes beside its content, as in a channel: a million of a line each must not count as nothing.
PARCEL_OVERHEAD_BYTES = 512

# Columns of short events take several times the bytes that were received, and an encoded batch must stay below
# BATCH_BYTES_MAX with the positions that it gets and the padding of each column.
COLUMNS_BYTES_MAX = 2 * limits.MIB


class BoundedInlet(Inlet):
    """See Inlet. `take`, `lift`: for the one that empties it."""

    def __init__(self, size_bytes_max: int = INLET_BYTES_MAX) -> None:
        self._limit_bytes = size_bytes_max
        self._parcels: deque[Parcel] = deque()
        self._changed = threading.Condition()
        self._waiting: list[Callable[[], None]] = []
        self._woken = False
        self._lifted = False
        self._failure: BaseException | None = None
        self.size_bytes = 0

    def offer(self, parcel: Parcel) -> bool:
        """See Inlet.offer."""
        with self._changed:
            if not self._has_room(parcel):
                return False
            self._take_in(parcel)
            return True

    def put(self, parcel: Parcel, timeout_s: float) -> bool:
        """See Inlet.put."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(parcel), timeout_s):
                return False
            self._take_in(parcel)
            return True

    def when_room(self, call: Callable[[], None]) -> None:
        """See Inlet.when_room."""
        with self._changed:
            if not self._is_roomy():
                self._waiting.append(call)
                return
        call()

    def withdraw(self, parcel: Parcel) -> bool:
        """See Inlet.withdraw."""
        with self._changed:
            for place, each in enumerate(self._parcels):
                if each is parcel:
                    del self._parcels[place]
                    self.size_bytes -= parcel.size_bytes + PARCEL_OVERHEAD_BYTES
                    break
            else:
                return False
            calls = self._roomy()
        for call in calls:
            call()
        return True

    def fail(self, error: BaseException) -> None:
        """See Inlet.fail."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def take(self, max_bytes: int, timeout_s: float) -> list[Parcel]:
        """Parcels of about so many bytes, one at least if there is any. *Blocking* until there is one, `wake`, or the time.
        Raises what the source failed with, after all parcels."""
        taken: list[Parcel] = []
        with self._changed:
            self._changed.wait_for(lambda: self._parcels or self._woken or self._failure, timeout_s)
            self._woken = False
            if self._failure is not None and not self._parcels:
                failure, self._failure = self._failure, None
                raise failure
            size_bytes = 0
            while self._parcels and (not taken or size_bytes + self._parcels[0].size_bytes <= max_bytes):
                parcel = self._parcels.popleft()
                size_bytes += parcel.size_bytes
                self.size_bytes -= parcel.size_bytes + PARCEL_OVERHEAD_BYTES
                taken.append(parcel)
            calls = self._roomy()
        for call in calls:
            call()
        return taken

    def gather(self, wanted_bytes: int, until_s: float) -> None:
        """*Blocking* until so much has come, or `until_s` on the monotonic clock, or `wake`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.size_bytes >= wanted_bytes or self._woken or self._failure,
                max(0.0, until_s - time.monotonic()),
            )

    def wake(self) -> None:
        """End a `take` or `gather` that waits."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def lift(self) -> None:
        """Refuse nothing from now on: what comes is what was received already."""
        with self._changed:
            self._lifted = True
            calls = self._roomy()
        for call in calls:
            call()

    def _take_in(self, parcel: Parcel) -> None:
        self._parcels.append(parcel)
        self.size_bytes += parcel.size_bytes + PARCEL_OVERHEAD_BYTES
        self._changed.notify_all()

    def _has_room(self, parcel: Parcel) -> bool:
        """Also the largest finds room when nothing else waits."""
        needed = parcel.size_bytes + PARCEL_OVERHEAD_BYTES
        return self._lifted or not self._parcels or self.size_bytes + needed <= self._limit_bytes

    def _is_roomy(self) -> bool:
        """Half empty: who was refused is not called for each place that gets free."""
        return self._lifted or self.size_bytes * 2 <= self._limit_bytes

    def _roomy(self) -> list[Callable[[], None]]:
        if not self._is_roomy():
            return []
        calls, self._waiting = self._waiting, []
        self._changed.notify_all()
        return calls


def joined(contents: Sequence[object], attributes: Mapping[str, str]) -> list[Events]:
    """Neighbours that are alike as one: LINES bytes, record batches, or `Events` that have attributes of their own."""
    made = [each if isinstance(each, Events) else events(each, attributes) for each in contents]
    result: list[Events] = []
    for _, alike in groupby(made, lambda each: (isinstance(each.payload, bytes), each.attributes)):
        result += _join(list(alike))
    return result


def events(payload: object, attributes: Mapping[str, str]) -> Events:
    """LINES bytes or a record batch, counted."""
    if isinstance(payload, bytes):
        return Events(payload, count_lines(payload), attributes)
    return Events(payload, payload.num_rows, attributes)  # type: ignore[attr-defined]


def _join(alike: list[Events]) -> list[Events]:
    if len(alike) == 1:
        return alike
    count = sum(each.count for each in alike)
    payloads = [each.payload for each in alike]
    if isinstance(payloads[0], bytes):
        return [Events(b"".join(payloads), count, alike[0].attributes)]
    from qanat import columns

    return [Events(columns.stacked(payloads), count, alike[0].attributes)]


def placed(of: Events, stream: str, start: int, timestamp_ns: int) -> Batch:
    """As a batch of a stream, with numbers from `start` on as positions."""
    payload, form = of.payload, PayloadForm.LINES
    if not isinstance(payload, bytes):
        from qanat import columns

        payload, form = columns.placed(payload, start), PayloadForm.COLUMNS
    return Batch(stream, start, start + of.count, of.count, form, payload, timestamp_ns, of.attributes)


def within_limits(one: Events) -> Iterator[Events]:
    """In parts that are no larger than a batch may be; a single event is as large as it is."""
    if isinstance(one.payload, bytes) or one.count < 2 or _size_bytes(one.payload) <= COLUMNS_BYTES_MAX:
        yield one
        return
    half = one.count // 2
    yield from within_limits(Events(one.payload.slice(0, half), half, one.attributes))
    yield from within_limits(Events(one.payload.slice(half), one.count - half, one.attributes))


def _size_bytes(payload: pa.RecordBatch) -> int:
    return int(payload.nbytes)
