"""Rate limits that are shared by whoever uses the same id in a process, and that can change at any time.

Nobody is dropped and nobody is queued: whoever passed something says how much it was, and asks before it takes more how long
that should wait. So a limit is exceeded by one batch at a time and kept on average.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from qanat import limits
from qanat.clock import Clock, SystemClock

# What is read at a time under a limit is what may pass in this time: short, so that the flow looks even, and long beside the
# cost of a batch.
SLICE_S = 0.25
SLICE_BYTES_MIN = 4 * limits.KIB  # a line or a few: a smaller read costs as much

# No limit is so low that whoever waits should sleep longer before it looks again: the limit may change meanwhile.
PAUSE_S_MAX = 1.0


@dataclass(frozen=True, slots=True)
class Limit:
    """0 is no limit. Bytes are those of bodies, as in Flume OG."""

    events_s: float = 0.0
    bytes_s: float = 0.0


class Throttle:
    """One id. *Thread*: any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limit = Limit()
        self._events = 0.0  # passed, and not yet paid for by the time that went by
        self._bytes = 0.0
        self._at_s = clock.monotonic_s()
        self._event_bytes = 1.0  # the size of an event, lately

    @property
    def limit(self) -> Limit:
        return self._limit

    def change(self, limit: Limit) -> None:
        """From now on."""
        with self._lock:
            self._pay()
            self._limit = limit
            self._pay()

    def passed(self, events: int, body_bytes: int) -> None:
        """So much went through."""
        if not events:
            return
        with self._lock:
            self._pay()
            self._events += events if self._limit.events_s else 0
            self._bytes += body_bytes if self._limit.bytes_s else 0
            self._event_bytes = max(1.0, body_bytes / events)

    def pause_s(self) -> float:
        """How long to wait before taking more."""
        if not (self._limit.events_s or self._limit.bytes_s):
            return 0.0
        with self._lock:
            self._pay()
            wait_s = 0.0
            if self._limit.events_s:
                wait_s = self._events / self._limit.events_s
            if self._limit.bytes_s:
                wait_s = max(wait_s, self._bytes / self._limit.bytes_s)
        return min(wait_s, PAUSE_S_MAX)

    def slice_bytes(self) -> int:
        """How much to take at a time."""
        allowed = [float(limits.BATCH_BYTES_TARGET)]
        if self._limit.events_s:
            allowed.append(self._limit.events_s * SLICE_S * self._event_bytes)
        if self._limit.bytes_s:
            allowed.append(self._limit.bytes_s * SLICE_S)
        return max(SLICE_BYTES_MIN, int(min(allowed)))

    def _pay(self) -> None:
        now_s = self._clock.monotonic_s()
        gone_s, self._at_s = now_s - self._at_s, now_s
        limit = self._limit
        self._events = max(0.0, self._events - gone_s * limit.events_s) if limit.events_s else 0.0
        self._bytes = max(0.0, self._bytes - gone_s * limit.bytes_s) if limit.bytes_s else 0.0


class Throttles:
    """Those of a process, by id. What masters set goes before what a flow suggests. *Thread*: any."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._throttles: dict[str, Throttle] = {}
        self._suggested: dict[str, Limit] = {}
        self._set: Mapping[str, Limit] = {}

    def of(self, id_: str) -> Throttle:
        """The one with this id; unlimited until something else is said."""
        found = self._throttles.get(id_)
        if found is None:
            with self._lock:
                found = self._throttles.setdefault(id_, Throttle(self._clock))
        return found

    def set(self, by_id: Mapping[str, Limit]) -> None:
        """These are the limits that masters have; for other ids they have none."""
        changed = self._set.keys() | by_id.keys()
        self._set = dict(by_id)
        for id_ in changed:
            self._change(id_)

    def suggest(self, id_: str, limit: Limit) -> None:
        """Where masters say nothing; of several who suggest something for one id the last one counts."""
        self._suggested[id_] = limit
        self._change(id_)

    def _change(self, id_: str) -> None:
        limit = self._set.get(id_) or self._suggested.get(id_) or Limit()
        if self.of(id_).limit != limit:
            self.of(id_).change(limit)
