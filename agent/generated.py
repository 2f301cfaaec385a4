"""Sources whose events are made as they are read: event N is a function of N, so they can be read again, like a file.

After a restart they go on where storage ends: a thousand events are a thousand, however often the agent dies.
"""

from __future__ import annotations

import abc
import threading
from collections.abc import Mapping
from typing import Any

from qanat import limits
from qanat.batch import Batch, lines_batch
from qanat.component import Context, Source, StreamEvent, StreamFound

# At a rate, events are made so often: some hundred batches a second, each of a hundredth of the rate.
PAUSE_S = 0.01


class Generated(Source):
    """One stream, `generated`, whose positions are numbers of events. `count_max`: how many there are; 0 is no end. It is never
    said to be finished, and so never forgotten: that is how a restart knows that all were made.

    `rate`: events a second at most, 0 for as fast as they are read."""

    stream = "generated"

    def __init__(self, config: Any, context: Context, count_max: int, rate: float = 0.0) -> None:
        super().__init__(config, context)
        self._end = count_max or limits.POSITION_MAX
        self._rate = rate
        self._next: int | None = None
        self._news: list[StreamEvent] = []
        self._woken = threading.Event()
        self._began = (0.0, 0)  # since when, and with which event, the rate is kept

    @abc.abstractmethod
    def lines(self, start: int, end: int) -> bytes:
        """The events `[start, end)`."""

    @abc.abstractmethod
    def size_bytes(self) -> int:
        """About, of an event with its line end."""

    def open(self) -> None:
        """There is one stream."""
        self._news = [StreamFound(self.stream, 0)]

    def recover(self, known: Mapping[str, int]) -> None:
        """Nothing: the position is all there is to know."""

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """See Source.poll."""
        if not self._news and not self._due():
            idle = self._next is None or self.is_over()
            self._woken.wait(timeout_s if idle else min(timeout_s, self._pause_s()))
        self._woken.clear()
        news, self._news = self._news, []
        return news

    def seek(self, stream: str, position: int) -> None:
        """See Source.seek."""
        self._next = position
        self._began = (self.context.clock.monotonic_s(), position)

    def read(self, max_bytes: int) -> Batch | None:
        """As many as fit, and are due."""
        start, due = self._next, self._due()
        if start is None or not due:
            return None
        end = start + min(due, max(1, max_bytes // self.size_bytes()), limits.BATCH_EVENTS_MAX)
        batch = lines_batch(
            self.stream,
            start,
            self.lines(start, end),
            timestamp_ns=self.context.clock.wall_ns(),
            attributes={"host": self.context.host},
            end=end,
        )
        self._next = end
        return batch

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Nothing: they can always be made again."""

    def save(self) -> None:
        """Nothing to save."""

    def wake(self) -> None:
        """See Source.wake."""
        self._woken.set()

    def lag_bytes(self) -> int:
        """What is due."""
        return self._due() * self.size_bytes() if self._rate or self._end < limits.POSITION_MAX else 0

    def is_over(self) -> bool:
        """Of those that were asked for, the last one was made."""
        return self._next is not None and self._next >= self._end

    def close(self) -> None:
        """Nothing to release."""

    def _due(self) -> int:
        """How many may be made now."""
        if self._next is None:
            return 0
        left = self._end - self._next
        if not self._rate:
            return left
        since_s, first = self._began
        elapsed_s = self.context.clock.monotonic_s() - since_s
        return max(0, min(left, first + int(elapsed_s * self._rate) - self._next))

    def _pause_s(self) -> float:
        """Until the next one is due; not for each at a high rate."""
        return max(1.0 / self._rate, PAUSE_S) if self._rate else 0.0
