"""Branches of a fan-out that read the same data with a source each, and that must not get far ahead of a required one. [pure]

Their sources name streams each in its own way (an incarnation of a file that each discovered for itself), so positions are
compared as sums: what a branch has sent, and what it has yet to read, in bytes. Both sources see the same end of the data, so
the distance between two branches is known whenever both were asked at about the same time how far behind they are. In between,
and while one of them can't be asked because it has no collector, it moves with what one sends and the other hears
acknowledged. What is written meanwhile is unread by both, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from qanat.limits import MIB

# A few times what may be on its way to a collector: a healthy branch never waits for another that is healthy.
WINDOW_BYTES = 64 * MIB

# Sources measure once a second; of two measurements that are further apart one is stale.
FRESH_S = 2.5


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes since the start of the process. `sent`: read, and sent or waiting for it; `had`: acknowledged."""

    sent: int = 0
    had: int = 0


@dataclass(eq=False)
class Pace:
    """One branch. Its owner sets `progress`, and says what the source measures. *Thread*: any, one at a time."""

    others: list[Pace]
    required: bool
    window_bytes: int
    progress: Callable[[], Progress] = Progress
    _end: int = 0  # of the data, in this branch's count of sent bytes
    _measured_s: float | None = None
    _offsets: dict[Pace, int] = field(default_factory=dict)

    def measured(self, lag_bytes: int, now_s: float) -> None:
        """The source has so much left to read now."""
        self._end = self.progress().sent + lag_bytes
        self._measured_s = now_s
        for other in self.others:
            if other is not self and other._measured_s is not None and now_s - other._measured_s <= FRESH_S:
                self._offsets[other] = other._end - self._end
                other._offsets[self] = self._end - other._end

    def ahead_bytes(self) -> int:
        """How much this branch has sent that some required one does not have, at most; negative when it is behind."""
        sent = self.progress().sent
        return max(
            (
                sent - other.progress().had + self._offsets.get(other, 0)
                for other in self.others
                if other.required and other is not self
            ),
            default=0,
        )

    def may_read(self) -> bool:
        """It is not too far ahead."""
        return self.ahead_bytes() < self.window_bytes


def paces(required: list[bool], window_bytes: int) -> list[Pace | None]:
    """One for each branch; None when nobody waits for anybody."""
    if not any(required) or len(required) < 2:
        return [None] * len(required)
    together: list[Pace] = []
    together += [Pace(together, each, window_bytes) for each in required]
    return list(together)
