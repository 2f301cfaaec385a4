"""Numbered batches in memory, oldest first. [pure]"""

from __future__ import annotations

import bisect
import operator

from qanat.batch import Batch, PayloadForm

# What a batch takes beside its payload: the objects and its attributes, measured with a dozen bytes of payload. Without it
# a million one-line batches would take a gigabyte and count as none.
BATCH_OVERHEAD_BYTES = 512

# How many freed places the list keeps: moving the rest to the front is paid once in so many.
_FREED_MAX = 1024
_NOTHING = Batch("", 0, 0, 0, PayloadForm.LINES, b"", 0, {})


def room_bytes(batch: Batch) -> int:
    """What a batch counts for in a channel's capacity."""
    return batch.payload_bytes + BATCH_OVERHEAD_BYTES


class Backlog:
    """Contiguous batches of one stream, `[oldest, end)`; `size_bytes` as capacities count."""

    def __init__(self, oldest: int) -> None:
        self._batches: list[Batch] = []
        self._sums: list[int] = []  # payload bytes ever appended, up to and including each batch
        self._freed = 0  # places at the front that are empty
        self._total_bytes = 0
        self.oldest = self.end = oldest
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._batches) - self._freed

    @property
    def events(self) -> int:
        """Events that wait."""
        return self.end - self.oldest

    def append(self, batch: Batch) -> None:
        """The next events; `batch.start` is `end`."""
        assert batch.start == self.end, (batch.start, self.end)
        self._batches.append(batch)
        self._total_bytes += batch.payload_bytes
        self._sums.append(self._total_bytes)
        self.size_bytes += room_bytes(batch)
        self.end = batch.end

    def covering(self, number: int) -> Batch:
        """The batch with this event, `oldest <= number < end`."""
        return self._batches[self._index(number)]

    def first(self) -> Batch:
        """The oldest batch there is."""
        return self._batches[self._freed]

    def bytes_from(self, number: int) -> int:
        """Payload bytes of the batches from the one that covers `number` on."""
        number = max(number, self.oldest)
        if number >= self.end:
            return 0
        index = self._index(number)
        return self._total_bytes - self._sums[index] + self._batches[index].payload_bytes

    def free_first(self) -> Batch:
        """Take the oldest batch out."""
        batch = self._batches[self._freed]
        self._batches[self._freed] = _NOTHING
        self._freed += 1
        self.size_bytes -= room_bytes(batch)
        self.oldest = batch.end
        if self._freed >= _FREED_MAX or self._freed == len(self._batches):
            del self._batches[: self._freed], self._sums[: self._freed]
            self._freed = 0
        return batch

    def free_before(self, number: int) -> bool:
        """Take out the batches that end at `number` or before; whether there were any."""
        before = self.oldest
        while len(self) and self.first().end <= number:
            self.free_first()
        return self.oldest > before

    def _index(self, number: int) -> int:
        return bisect.bisect_right(self._batches, number, lo=self._freed, key=operator.attrgetter("end"))
