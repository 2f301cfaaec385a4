"""Time: wall time in ns since 1970 UTC for events, a monotonic clock for intervals."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time; tests pass a manual one."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 UTC; may step."""

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary origin; never goes back."""


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, *, wall_ns: int = 1_700_000_000_000_000_000, monotonic_s: float = 0.0) -> None:
        self._wall_ns = wall_ns
        self._monotonic_s = monotonic_s

    def wall_ns(self) -> int:
        return self._wall_ns

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        self._wall_ns += int(seconds * 1e9)
        self._monotonic_s += seconds
