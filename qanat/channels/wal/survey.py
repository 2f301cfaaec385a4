"""What is in a log, for people: reads only, locks nothing, and bears with an agent that writes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from qanat.batch import Batch, PayloadForm
from qanat.channels.wal import cursors, record
from qanat.channels.wal.directory import OsDirectory
from qanat.channels.wal.record import BATCH
from qanat.channels.wal.segment import Segment, SegmentReader, parse_name, read_head, scan

# Looking again at segments that an agent deleted, renamed or created while they were listed.
_ATTEMPTS_MAX = 5


@dataclass(slots=True)
class SegmentInfo:
    """One segment. `last`: behind its last event; `note`: what is unusual about it."""

    name: str
    first: int
    last: int
    size_bytes: int
    note: str = ""


@dataclass(slots=True)
class CursorInfo:
    """One cursor, as its file says."""

    name: str
    position: int
    waiting: int


@dataclass(slots=True)
class Survey:
    """What was found. `damages`: sentences; `unfinished_bytes`: behind the last record; `reaped`: events before this number
    went, acknowledged, while they were being read."""

    directory: OsDirectory
    incarnation: str = ""
    number: int = 0
    segments: list[SegmentInfo] = field(default_factory=list)
    cursors: list[CursorInfo] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    damages: list[str] = field(default_factory=list)
    records: int = 0
    unfinished_bytes: int = 0
    reaped: int = 0
    _parsed: list[Segment] = field(default_factory=list)

    @property
    def oldest(self) -> int:
        """The first number."""
        return self.segments[0].first

    @property
    def size_bytes(self) -> int:
        """On disk."""
        return sum(each.size_bytes for each in self.segments)

    def given(self, start: int, end: int) -> int:
        """How many of these numbers belong to events."""
        skipped = sum(max(0, min(end, last) - max(start, first)) for first, last in self.skipped)
        return max(0, end - start - skipped)

    def document(self) -> dict[str, Any]:
        """For scripts."""
        names = ("incarnation", "number", "oldest", "size_bytes", "records", "taken", "skipped", "damages")
        return {name: getattr(self, name) for name in names} | {
            "unfinished_bytes": self.unfinished_bytes,
            "segments": [asdict(each) for each in self.segments],
            "cursors": [asdict(each) for each in self.cursors],
        }

    def batches(self, first: int) -> Iterator[Batch]:
        """Every good batch that has an event from `first` on."""
        for segment in self._parsed:
            if segment.last <= first:
                continue
            try:
                file = self.directory.open(segment.name)
            except FileNotFoundError:
                self.reaped = segment.last  # deleted meanwhile: everybody has it
                continue
            try:
                yield from _batches(
                    SegmentReader(file, record.seed_of(self.incarnation)), segment, first, self.incarnation
                )
            finally:
                file.close()


def survey(directory: Path, *, verify: bool) -> Survey:
    """Look at a log. Raises OSError, and CorruptError for one of another version."""
    for _attempt in range(_ATTEMPTS_MAX):
        try:
            return _survey(OsDirectory(directory), verify=verify)
        except FileNotFoundError:
            directory.stat()  # there at all?
            time.sleep(0.01)
    return _survey(OsDirectory(directory), verify=verify)


def _survey(directory: OsDirectory, *, verify: bool) -> Survey:
    found = Survey(directory)
    names = directory.list()
    parsed = sorted((each for name in names if (each := parse_name(name))), key=lambda each: each.sequence)
    after: list[int | None] = []
    for segment in parsed:
        file = directory.open(segment.name)
        try:
            segment.size = file.size()
            head = read_head(file, segment.size)
        finally:
            file.close()
        after.append(None if head is None else head[0].after)
        if head is not None:
            segment.data_at = head[1]
            found.incarnation, found.skipped = head[0].incarnation, head[0].skipped
            found.taken = dict(head[0].taken)
        elif segment is not parsed[-1]:
            found.damages.append(f"{segment.name}: both copies of its head are unreadable")
    for (segment, following), end in zip(pairwise(parsed), after[1:], strict=True):
        segment.last = following.first if end is None else end
    for segment in parsed:
        _look(found, segment, is_last=segment is parsed[-1], verify=verify)
    found.cursors = [
        CursorInfo(each.name, each.position, max(0, found.given(each.position, found.number)))
        for each in cursors.load_all(directory).values()
        if each is not None and each.incarnation == found.incarnation
    ]
    return found


def _look(found: Survey, segment: Segment, *, is_last: bool, verify: bool) -> None:
    """The records of one segment; without verifying only the last one's, for what they say of sources."""
    offset, number = segment.data_at, segment.first
    damages: list[str] = []
    if is_last or verify:
        file = found.directory.open(segment.name)
        try:
            reader = SegmentReader(file, record.seed_of(found.incarnation))
            for entry in scan(reader, segment.data_at, segment.size, verify=verify):
                found.records += 1
                if not is_last and entry.header.number >= segment.last:
                    break  # written again in the next segment
                if entry.offset != offset or entry.payload_ok is False:
                    behind = entry.header.next_number if entry.payload_ok is False else entry.header.number
                    damages.append(
                        f"{segment.name}: damaged at byte {offset}, events {number:,} to {behind:,} (not included)"
                    )
                if is_last:
                    record.apply(found.taken, entry.header, entry.decode_meta())
                offset, number = entry.end, entry.header.next_number
        finally:
            file.close()
    if is_last:
        segment.last = number
        found.number = number
        found.unfinished_bytes = segment.size - offset
    elif verify and number < segment.last:
        damages.append(
            f"{segment.name}: damaged at byte {offset}, events {number:,} to {segment.last:,} (not included)"
        )
    found.damages += damages
    found._parsed.append(segment)
    note = "damaged" if segment.damaged or damages else ""
    found.segments.append(SegmentInfo(segment.name, segment.first, segment.last, segment.size, note))


def _batches(reader: SegmentReader, segment: Segment, first: int, stream: str) -> Iterator[Batch]:
    for entry in scan(reader, segment.offset_of(first), segment.size, verify=False):
        header = entry.header
        if header.number >= segment.last:
            return
        if header.kind != BATCH or header.next_number <= first or not header.count:
            continue
        payload = reader.payload(entry)
        if payload is None:
            continue
        batch = Batch(
            stream, header.number, header.next_number, header.count, header.payload_form, payload,
            header.timestamp_ns, entry.decode_meta().attributes,
        )  # fmt: skip
        if batch.form is PayloadForm.COLUMNS:
            from qanat import columns

            batch = replace(batch, payload=columns.decode(payload))
        yield batch
