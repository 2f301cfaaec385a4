"""What a log is after whatever happened to it: which segments, how far, and what of the last one is torn or damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from qanat import limits
from qanat.channels.wal import record
from qanat.channels.wal.cursors import Saved
from qanat.channels.wal.directory import Directory, WalFile
from qanat.channels.wal.record import Head
from qanat.channels.wal.segment import Entry, Segment, SegmentReader, parse_name, read_head, scan


@dataclass(slots=True)
class Recovered:
    """The state of a log as its files tell it.

    `number`: behind the last event that is kept; `resume`: the next one to give, larger when numbers are skipped; `taken`:
    of each source stream; `damaged`: segments that have to be set aside, with how many events are missing; `torn_bytes`:
    to be cut off the last segment; `is_open`: the last segment is sound and may grow; `boot`: of the machine when
    unsynced records were last written; `removable`: segments that were never used; `kept`: unreadable ones that are
    no part of the log.
    """

    segments: list[Segment] = field(default_factory=list)
    incarnation: str = ""
    number: int = 0
    resume: int = 0
    taken: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    damaged: list[tuple[Segment, int]] = field(default_factory=list)
    torn_bytes: int = 0
    is_open: bool = False
    boot: str = ""
    removable: list[str] = field(default_factory=list)
    kept: list[Segment] = field(default_factory=list)


def recover(directory: Directory, cursors: Sequence[Saved]) -> Recovered:
    """Look, change nothing. Raises OSError, and CorruptError for an unknown version."""
    found = Recovered()
    segments = sorted(
        (segment for name in directory.list() if (segment := parse_name(name))),
        key=lambda segment: segment.sequence,
    )
    heads = {segment: _look(directory, segment) for segment in segments}
    _identify(found, segments, heads)
    while segments and heads[segments[-1]] is None and _is_empty(directory, found, segments[-1]):
        segment = segments.pop()
        if segment.size > segment.data_at:  # not what an interrupted creation leaves
            found.kept.append(segment)
        else:
            found.removable.append(segment.name)
    _part(found, segments)
    if segments:
        known = [cursor.position for cursor in cursors if cursor.incarnation == found.incarnation]
        _join(directory, found, segments, heads, max(known, default=0))
    return found


def _look(directory: Directory, segment: Segment) -> Head | None:
    """The head of a segment; None when it is unreadable, or was cut off when the segment was created."""
    file = directory.open(segment.name)
    try:
        segment.size = file.size()
        found = read_head(file, segment.size)
        if found is None:
            segment.data_at = segment.size if _is_blank(file, segment.size) else 0
            return None
    finally:
        file.close()
    segment.data_at = min(found[1], segment.size)
    return found[0] if segment.size >= found[1] else None


def _is_blank(file: WalFile, size: int) -> bool:
    """Zeros, or the beginning of a head and zeros: what a power cut may leave of a file that was just created."""
    if size < record.FIXED_BYTES:
        return True
    first = record.peek(file.read(0, record.FIXED_BYTES))
    if first is not None and first.kind == record.HEAD:
        return size <= 2 * first.record_bytes
    return not any(any(file.read(at, limits.MIB)) for at in range(0, size, limits.MIB))


def _part(found: Recovered, segments: list[Segment]) -> None:
    """Leave out what has larger numbers than what follows: all of an incarnation that became unreadable."""
    for at in range(len(segments) - 2, -1, -1):
        if segments[at].first > segments[at + 1].first:
            found.kept = segments[: at + 1] + found.kept
            del segments[: at + 1]
            return


def _identify(found: Recovered, segments: list[Segment], heads: dict[Segment, Head | None]) -> None:
    known = [head for segment in segments if (head := heads[segment]) is not None]
    if known:
        found.incarnation = known[-1].incarnation
        found.skipped = list(known[-1].skipped)


def _is_empty(directory: Directory, found: Recovered, segment: Segment) -> bool:
    """A segment without a head in which no record is found either."""
    file = directory.open(segment.name)
    try:
        reader = SegmentReader(file, record.seed_of(found.incarnation))
        return reader.next_good(0, segment.size) is None
    finally:
        file.close()


def _join(
    directory: Directory,
    found: Recovered,
    segments: list[Segment],
    heads: dict[Segment, Head | None],
    acknowledged: int,
) -> None:
    """A segment's events end where the next head says; those of the last one where its records do."""
    for segment, following in pairwise(segments):
        head = heads[following]
        segment.last = following.first if head is None else max(segment.first, head.after)
    found.segments = segments
    last = segments[-1]
    base = max((at for at, segment in enumerate(segments) if heads[segment] is not None), default=0)
    head = heads[segments[base]]
    if head is not None:
        found.taken, found.boot = dict(head.taken), head.boot
    for segment in segments[base:-1]:  # only when the last segment's head is unreadable
        _replay(directory, found, segment)
    file = directory.open(last.name)
    try:
        _Last(found, last, acknowledged).read(file)
    finally:
        file.close()


def _replay(directory: Directory, found: Recovered, segment: Segment) -> None:
    """Behind `last` there may be records that were written again in the next segment."""
    file = directory.open(segment.name)
    try:
        reader = SegmentReader(file, record.seed_of(found.incarnation))
        for entry in scan(reader, segment.data_at, segment.size, verify=False):
            if entry.header.number < segment.last:
                _note(found, entry)
    finally:
        file.close()


def _note(found: Recovered, entry: Entry) -> None:
    meta = entry.decode_meta()
    record.apply(found.taken, entry.header, meta)
    if meta.closed:
        found.boot = ""


class _Last:
    """The last segment: what of it is good, torn, or damaged. Twice through, so that no list of its records is needed."""

    def __init__(self, found: Recovered, segment: Segment, acknowledged: int) -> None:
        self.found = found
        self.segment = segment
        self.offset = segment.data_at  # behind what is kept
        self.number = segment.first
        self.events = 0
        self.durable = max(acknowledged, segment.first)
        self.discarded = 0  # behind the last good event that is not kept
        self.is_torn = False
        self.is_whole = segment.data_at > 0  # every record so far follows the one before, and is good

    def read(self, file: WalFile) -> None:
        """Fill in the rest of what was recovered."""
        segment, found = self.segment, self.found
        reader = SegmentReader(file, record.seed_of(found.incarnation))
        for entry in scan(reader, self.offset, segment.size, verify=False):
            self.durable = max(self.durable, entry.header.durable)
        for entry in scan(reader, self.offset, segment.size, verify=True):
            self._take(entry)
        number = max(self.number, self.durable)
        if not self.is_whole or number > self.number:
            found.damaged.append((segment, number - segment.first - self.events))
            self.offset = segment.size
        segment.last = found.number = number
        found.resume = max(number, self.discarded)
        found.torn_bytes = segment.size - self.offset
        segment.size = self.offset
        found.is_open = self.is_whole and number == self.number and not segment.damaged

    def _take(self, entry: Entry) -> None:
        header = entry.header
        is_next = entry.offset == self.offset and header.number == self.number and bool(entry.payload_ok)
        self.is_torn = self.is_torn or (not is_next and self.number >= self.durable)
        if self.is_torn:
            self.discarded = max(self.discarded, header.next_number if entry.payload_ok else 0)
            return
        self.is_whole = self.is_whole and is_next
        _note(self.found, entry)
        self.offset, self.number = entry.end, header.next_number
        if entry.payload_ok:
            self.events += header.count
            self.segment.note(header.number, entry.offset)
