"""The segments of a log, oldest first: which there are, what they take, which are damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import structlog

from qanat.channels import streams
from qanat.channels.wal.directory import Absent, Directory, WalFile
from qanat.channels.wal.recovery import Recovered
from qanat.channels.wal.segment import Segment, SegmentReader, is_retired, retired_name, scan, segment_name

_log = structlog.get_logger()

# Damaged segments are kept for somebody to look at, when all that was good in them was delivered; the oldest goes for the
# ninth. They are as large as half a gigabyte together.
DAMAGED_KEPT_MAX = 8

# Remembered ranges of numbers that were never given; they matter only to who asks for events from before them.
SKIPPED_MAX = 100


class Segments:
    """*Thread*: what changes the list is called with the log's guard held, unless it says so."""

    def __init__(self, directory: Directory, count: Callable[[str, int], None]) -> None:
        self.all: list[Segment] = []
        self.bytes = 0
        self.seed = 0
        self.skipped: list[tuple[int, int]] = []
        self.next_sequence = 1
        self._directory = directory
        self._count = count
        self._retired: list[str] = []  # names of damaged segments that are no part of the log any more

    def restore(self, found: Recovered, seed: int) -> None:
        """What recovery found. Removes what was never used. Raises OSError."""
        self.seed = seed
        self.all = list(found.segments)
        self.bytes = sum(segment.size for segment in self.all)
        self.skipped = list(found.skipped)
        known = [each.sequence for each in [*self.all, *found.kept]]
        self._retired = [name for name in self._directory.list() if is_retired(name)]
        known += [int(name.partition("-")[0]) for name in self._retired]
        self.next_sequence = 1 + max(known, default=0)
        for segment in found.kept:
            _log.error("wal_segment_unreadable", segment=segment.name, consequence="kept as *.damaged")
            self._retire(segment)
        for name in found.removable:
            self._directory.remove(name)

    @property
    def oldest(self) -> int:
        """The number of the oldest event there is."""
        return self.all[0].first

    def add(self, segment: Segment, skipped: list[tuple[int, int]]) -> None:
        """A new last one."""
        self.all.append(segment)
        self.bytes += segment.size
        self.skipped = skipped[-SKIPPED_MAX:]
        self.next_sequence = segment.sequence + 1

    def grown(self, segment: Segment, number: int, size: int, count: int) -> None:
        """The last one has a record more."""
        segment.note(number, segment.size)
        segment.size += size
        segment.last = number + count
        self.bytes += size

    def find(self, number: int) -> Segment:
        """The one that has `number`, or the one before it."""
        low, high = 0, len(self.all)
        while high - low > 1:
            middle = (low + high) // 2
            if self.all[middle].first <= number:
                low = middle
            else:
                high = middle
        return self.all[low]

    def following(self, segment: Segment) -> Segment | None:
        """The next one."""
        return next((each for each in self.all if each.sequence > segment.sequence), None)

    def events_from(self, number: int) -> int:
        """How many events there are from `number` on; those that damage has taken count too."""
        return sum(
            each.last - max(each.first, number) for each in self.all if each.last > max(each.first, number)
        )

    def given(self, start: int, end: int) -> int:
        """How many of these numbers were ever given to events."""
        skipped = (min(end, last) - max(start, first) for first, last in self.skipped)
        return end - start - sum(max(0, each) for each in skipped)

    def drop_oldest(self) -> Segment:
        """Out of the list; its file is there until `remove`."""
        segment = self.all.pop(0)
        self.bytes -= segment.size
        return segment

    def remove(self, segment: Segment) -> None:
        """Its file, in order with others: the next one is removed only when this is durable. The guard need not be held."""
        try:
            if segment.damaged:
                self._retire(segment)
            else:
                self._directory.remove(segment.name)
            self._directory.sync()
        except OSError as error:
            _log.warning("wal_segment_not_removed", segment=segment.name, error=str(error))

    def _retire(self, segment: Segment) -> None:
        """Keep the file of a damaged segment out of the log. Raises OSError."""
        name = retired_name(segment)
        self._directory.rename(segment.name, name)
        self._retired.append(name)
        if len(self._retired) > DAMAGED_KEPT_MAX:
            self._directory.remove(self._retired.pop(0))

    def good_events(self, segment: Segment, limit: int) -> int:
        """How many events of a segment can still be read. The guard need not be held."""
        file = self.open(segment)
        try:
            found = scan(SegmentReader(file, self.seed), segment.data_at, limit, verify=True)
            return sum(entry.header.count for entry in found if entry.payload_ok)
        finally:
            file.close()

    def open(self, segment: Segment) -> WalFile:
        """For reading, also while it is set aside; without content when somebody has deleted it. Raises OSError."""
        for damaged in (segment.damaged, not segment.damaged):
            with contextlib.suppress(FileNotFoundError):
                return self._directory.open(segment_name(segment.sequence, segment.first, damaged=damaged))
        return Absent()

    def is_sound(self, file: WalFile, offset: int, limit: int) -> bool:
        """Whether all of a part of a file is good records."""
        for entry in scan(SegmentReader(file, self.seed), offset, limit, verify=True):
            if entry.offset != offset or not entry.payload_ok:
                return False
            offset = entry.end
        return offset == limit

    def replace_end(self, old: Segment, size: int, last: int, new: Segment) -> None:
        """The end of `old`, from `last` on, is in `new`."""
        self.bytes -= old.size - size
        old.size, old.last = size, last
        self.add(new, self.skipped)

    def set_aside(self, segment: Segment, missing: int) -> None:
        """It is damaged: count what is missing once, rename it; what is good in it is still read. The guard
        need not be held."""
        _log.error(
            "wal_segment_damaged", segment=segment.name, first=segment.first, last=segment.last, events_missing=missing,
            consequence="the rest is delivered; the file is kept as *.damaged",
        )  # fmt: skip
        if missing:
            self._count(streams.DAMAGED, missing)
        if segment.damaged:
            return
        try:
            self._directory.rename(segment.name, segment_name(segment.sequence, segment.first, damaged=True))
            segment.damaged = True
            self._directory.sync()
        except OSError as error:
            _log.warning("wal_segment_not_set_aside", segment=segment.name, error=str(error))
