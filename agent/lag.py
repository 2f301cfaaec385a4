"""How long the oldest event that a source has waits to be read, and what has to be read again. [pure]

Sources say how many bytes they have and did not read, not since when. So it is noted when how much had been seen: the first byte
beyond what was consumed was there when that much was seen for the first time.
"""

from __future__ import annotations

import math
from collections import deque

# Ten minutes at one measurement a second; beyond that, every other one is forgotten, so that hours fit as well.
NOTES_MAX = 600


class Lag:
    """What was there at the first measurement counts from then. *Thread*: one."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = (
            deque()
        )  # when, and how many bytes were there then, read or not

    def measured(self, consumed_bytes: int, unread_bytes: int, now_s: float) -> float:
        """The age in seconds, to within the time between two measurements; 0 when everything was read.

        `consumed_bytes`: so far; may fall back when something has to be read again."""
        if unread_bytes <= 0:
            self._seen.clear()
            return 0.0
        total = consumed_bytes + unread_bytes
        if not self._seen or total > self._seen[-1][1]:
            self._seen.append((now_s, total))
        while len(self._seen) > 1 and self._seen[0][1] <= consumed_bytes:
            self._seen.popleft()
        if len(self._seen) > NOTES_MAX:
            self._seen = deque([*self._seen][::2])
        return now_s - self._seen[0][0]


class Unsought:
    """What was read from a source, and will be read again: its connection broke, and the source was not sought back yet."""

    def __init__(self) -> None:
        self.payload_bytes = 0
        self.read_s = math.inf

    def add(self, payload_bytes: int, read_s: float) -> None:
        """Of which the oldest was read at `read_s`."""
        self.payload_bytes += payload_bytes
        self.read_s = min(self.read_s, read_s)

    def clear(self) -> None:
        """From now on it is unread. *Thread*: any."""
        self.payload_bytes, self.read_s = 0, math.inf
