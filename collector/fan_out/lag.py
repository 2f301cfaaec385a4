"""How far each branch is behind: what is in the log and not in its storage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collector.fan_out.log import BranchLog
from qanat.clock import Clock
from qanat.delivery.fan_out_token import Token
from qanat.errors import QanatError

# Looking costs a read of one batch for each branch that is behind and has moved; people look every few seconds.
MEASURE_S = 1.0


@dataclass(frozen=True, slots=True)
class Lag:
    """Of one branch. `seconds`: since the oldest event that it has not stored was read at its source."""

    bytes: int = 0
    events: int = 0
    seconds: float = 0.0


Told = Callable[[str, Lag], None]


class Lags:
    """Tells `told` of each branch that is fed from the log, now and then. *Thread*: one."""

    def __init__(self, log: BranchLog, clock: Clock, told: Told) -> None:
        self._log = log
        self._clock = clock
        self._told = told
        self._oldest: dict[
            str, tuple[int, int]
        ] = {}  # by branch: where it is, and when what is there was read
        self._measured_at_s: float | None = None

    def measure(self, committed: Token) -> None:
        """*Blocking*: may read from the log."""
        now_s = self._clock.monotonic_s()
        if self._measured_at_s is not None and now_s - self._measured_at_s < MEASURE_S:
            return
        self._measured_at_s = now_s
        for name, mark in committed.marks.items():
            behind = committed.end - mark.at
            if not behind:
                self._told(name, Lag())
                continue
            age_ns = self._clock.wall_ns() - self._read_at_ns(name, mark.at, committed.end)
            self._told(name, Lag(behind, max(0, committed.events - mark.events), max(0.0, age_ns / 1e9)))

    def _read_at_ns(self, name: str, at: int, end: int) -> int:
        known = self._oldest.get(name)
        if known is None or known[0] != at:
            known = self._oldest[name] = at, self._look(at, end)
        return known[1]

    def _look(self, at: int, end: int) -> int:
        try:
            batch, _ = next(iter(self._log.read(at, end)))
        except (QanatError, StopIteration):  # the branch will say so
            return self._clock.wall_ns()
        return batch.timestamp_ns
