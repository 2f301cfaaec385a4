"""Partitions whose next offset isn't there: deleted by retention before it was read, or forgotten by Kafka. [pure]"""

from __future__ import annotations

# From one time that a partition is sought again to the next, with nothing read in between: an offset that Kafka has forgotten is
# not there for as long as it takes to write so many messages anew. Times two each time, so that a log stays readable.
AGAIN_S = 1.0
AGAIN_S_MAX = 60.0


class Astray:
    """When each of them is to be sought again: at once, then after longer and longer. Times are of a monotonic clock."""

    def __init__(self) -> None:
        self._due_s: dict[int, float] = {}
        self._pause_s: dict[int, float] = {}

    def add(self, partition: int, now_s: float) -> None:
        """Brokers say that its next offset isn't there."""
        if partition in self._due_s:
            return
        pause_s = self._pause_s.get(partition, 0.0)
        self._due_s[partition] = now_s + pause_s
        self._pause_s[partition] = min(AGAIN_S_MAX, max(AGAIN_S, 2 * pause_s))

    def is_due(self, partition: int, now_s: float) -> bool:
        """Whether it is to be sought again by now."""
        return now_s >= self._due_s.get(partition, now_s + 1.0)

    def due(self, now_s: float) -> list[int]:
        """All that are to be sought again by now."""
        return [each for each, due_s in self._due_s.items() if now_s >= due_s]

    def sought(self, partition: int) -> None:
        """It is read again; whether that is of use is yet to be seen."""
        self._due_s.pop(partition, None)

    def came(self, partition: int) -> None:
        """Something of it, or nobody reads it any more."""
        self._due_s.pop(partition, None)
        self._pause_s.pop(partition, None)
