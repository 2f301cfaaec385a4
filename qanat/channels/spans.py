"""The events of `spillChannel` by number: runs of them in memory and in a log take turns, oldest first. [pure]"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from qanat.batch import Batch
from qanat.channels.backlog import Backlog


@dataclass(slots=True)
class OnDisk:
    """Numbers `[oldest, end)`, which the log calls `log_oldest` and so on; they take `size_bytes` of it."""

    oldest: int
    end: int
    log_oldest: int
    size_bytes: int

    @property
    def log_end(self) -> int:
        return self.log_oldest + self.end - self.oldest

    def log_number(self, number: int) -> int:
        """What the log calls it; the nearest end for numbers outside."""
        return self.log_oldest + min(max(number, self.oldest), self.end) - self.oldest

    def number(self, log_number: int) -> int:
        """The other way round."""
        return self.oldest + min(max(log_number, self.log_oldest), self.log_end) - self.log_oldest

    def free_before(self, number: int) -> None:
        """Forget what is before it; how much that frees is a guess by the number of events."""
        if self.oldest < number:
            left = self.end - min(number, self.end)
            self.size_bytes = self.size_bytes * left // (self.end - self.oldest)
            self.log_oldest = self.log_number(number)
            self.oldest = min(number, self.end)

    def bytes_from(self, number: int) -> int:
        """About the bytes of the events from `number` on."""
        return self.size_bytes * max(0, self.end - max(number, self.oldest)) // max(1, self.end - self.oldest)


Span = Backlog | OnDisk


class Spans:
    """`[oldest, end)` in turns; `log_passed`: before it, the log holds nothing that is needed."""

    def __init__(self, log_passed: int) -> None:
        self._spans: deque[Span] = deque()
        self.oldest = self.end = 0
        self.log_passed = log_passed

    @property
    def memory_bytes(self) -> int:
        """As capacities count."""
        return sum(span.size_bytes for span in self._spans if isinstance(span, Backlog))

    @property
    def disk_bytes(self) -> int:
        """As the log counts."""
        return sum(span.size_bytes for span in self._spans if isinstance(span, OnDisk))

    @property
    def is_on_disk(self) -> bool:
        """The newest events are in the log."""
        return bool(self._spans) and isinstance(self._spans[-1], OnDisk)

    def put_in_memory(self, batch: Batch) -> None:
        """The next events; `batch.start` is `end`."""
        last = self._spans[-1] if self._spans else None
        if not isinstance(last, Backlog):
            last = Backlog(self.end)
            self._spans.append(last)
        last.append(batch)
        self.end = batch.end

    def put_on_disk(self, count: int, log_number: int, size_bytes: int) -> None:
        """The next `count` events are in the log from `log_number` on."""
        last = self._spans[-1] if self._spans else None
        if not isinstance(last, OnDisk) or last.log_end != log_number:
            last = OnDisk(self.end, self.end, log_number, 0)
            self._spans.append(last)
        last.end += count
        last.size_bytes += size_bytes
        self.end = last.end

    def find(self, number: int) -> Span:
        """Where the event is; `oldest <= number < end`."""
        return next(span for span in self._spans if number < span.end)

    def free_before(self, number: int) -> bool:
        """Events before it are not needed any more: what of memory goes by whole batches stays for a moment; whether
        there is more room now."""
        before = self.oldest
        while self._spans and self._spans[0].end <= number:
            self._pop_first()
        if self._spans:
            first = self._spans[0]
            first.free_before(number)
            self.oldest = first.oldest
            if isinstance(first, OnDisk):
                self.log_passed = first.log_oldest
        else:
            self.oldest = self.end
        return self.oldest > before

    def step(self) -> int:
        """The next number up to which it makes sense to free something: a batch in memory, or a share of what is on disk."""
        if not self._spans:
            return self.end
        first = self._spans[0]
        if isinstance(first, Backlog):
            return first.first().end
        return first.oldest + max(1, (first.end - first.oldest) // 16)

    def log_position(self, number: int) -> int:
        """Before it, the log holds nothing that is needed by somebody who has everything before `number`."""
        position = self.log_passed
        for span in self._spans:
            if number <= span.oldest:
                break
            if isinstance(span, OnDisk):
                position = span.log_number(number)
        return position

    def bytes_from(self, number: int) -> int:
        """About the payload bytes from `number` on."""
        return sum(span.bytes_from(number) for span in self._spans if number < span.end)

    def memory_events_from(self, number: int) -> int:
        """Events in memory from `number` on."""
        return sum(span.end - max(number, span.oldest) for span in self._spans
                   if isinstance(span, Backlog) and number < span.end)  # fmt: skip

    def drop_memory(self) -> None:
        """Nothing can be read any more."""
        self._spans.clear()
        self.oldest = self.end

    def _pop_first(self) -> None:
        gone = self._spans.popleft()
        if isinstance(gone, OnDisk):
            self.log_passed = gone.log_end
