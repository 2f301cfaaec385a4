"""One segment: its name, its head, and its records one after the other, past damage too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from crc32c import crc32c

from qanat import limits
from qanat.channels.wal import record
from qanat.channels.wal.directory import WalFile
from qanat.channels.wal.record import FIXED_BYTES, HEAD, MAGIC, Head, Header, Meta
from qanat.errors import CorruptError

SUFFIX = ".wal"
DAMAGED_SUFFIX = ".wal.damaged"
RETIRED_SUFFIX = ".damaged"  # no part of the log any more
_NAME = re.compile(r"(\d{10})-(\d{20})\.wal(\.damaged)?\Z")

# Read ahead of a record's beginning: its fixed and describing parts, and small records whole, with those that follow. Of a
# megabyte's record these bytes are read twice, 1.5 %.
AHEAD_BYTES = 16 * limits.KIB
# Looked through at a time for the next good record behind a damaged one.
SEARCH_BYTES = 256 * limits.KIB
# Between two entries of a segment's index: a seek then looks at a megabyte of records at most.
INDEX_BYTES = limits.MIB


@dataclass(slots=True, eq=False)
class Segment:
    """What the log knows of a segment. `first`: number of its first event; `last`: behind its last; `size`: bytes that are
    valid, as far as known; `data_at`: where its first record is; `damaged`: renamed;
    `is_counted`: what is missing was counted; `index`: (number, offset) of some records."""

    sequence: int
    first: int
    last: int
    size: int
    data_at: int = 0
    damaged: bool = False
    is_counted: bool = False
    index: list[tuple[int, int]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of its file."""
        return segment_name(self.sequence, self.first, damaged=self.damaged)

    def offset_of(self, number: int) -> int:
        """A place at or before the record of `number`."""
        found = self.data_at
        for indexed, offset in self.index:
            if indexed > number:
                break
            found = offset
        return found

    def note(self, number: int, offset: int) -> None:
        """A record begins there; some are remembered."""
        if offset - (self.index[-1][1] if self.index else self.data_at) >= INDEX_BYTES:
            self.index.append((number, offset))


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in a file, whose fixed and describing parts are good. `payload_ok`: None when the payload was not looked at."""

    offset: int
    header: Header
    meta: bytes
    payload_ok: bool | None = None

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.offset + self.header.record_bytes

    @property
    def payload_at(self) -> int:
        """Where the payload begins."""
        return self.offset + FIXED_BYTES + self.header.meta_bytes

    def decode_meta(self) -> Meta:
        """The describing part."""
        return record.decode_meta(self.meta)


class SegmentReader:
    """Records of one file, through a small buffer. Nothing at or behind `limit` is looked at."""

    def __init__(self, file: WalFile, seed: int) -> None:
        self.file = file
        self.seed = seed
        self._buffer = b""
        self._buffer_at = 0

    def entry(self, offset: int, limit: int) -> Entry | None:
        """The record that begins at `offset`; None when there is no good one, or not all of it."""
        data, at = self._look(offset, FIXED_BYTES, limit)
        header = record.peek(data, at)
        if header is None or offset + header.record_bytes > limit:
            return None
        if len(data) - at < FIXED_BYTES + header.meta_bytes:
            data, at = self._look(offset, FIXED_BYTES + header.meta_bytes, limit)
        if not record.is_valid(header, data, self.seed, at):
            return None
        return Entry(offset, header, data[at + FIXED_BYTES : at + FIXED_BYTES + header.meta_bytes])

    def payload(self, entry: Entry) -> bytes | None:
        """The payload; None when it is not what was written."""
        begin, size = entry.payload_at, entry.header.payload_bytes
        at = begin - self._buffer_at
        if at >= 0 and at + size <= len(self._buffer):
            data = self._buffer[at : at + size]
        else:
            data = self.file.read(begin, size)
        good = len(data) == size and crc32c(data) == entry.header.payload_crc
        return data if good else None

    def next_good(self, offset: int, limit: int) -> Entry | None:
        """The first good record at or behind `offset`. One of a text that looks like one has another seed, and a head
        has none: heads are only where a segment begins."""
        while offset < limit:
            block = self.file.read(offset, min(SEARCH_BYTES, limit - offset))
            at = block.find(MAGIC)
            while at >= 0:
                found = self.entry(offset + at, limit)
                if found is not None and found.header.kind != HEAD:
                    return found
                at = block.find(MAGIC, at + 1)
            if len(block) < len(MAGIC):
                return None
            offset += len(block) - len(MAGIC) + 1
        return None

    def forget_buffer(self) -> None:
        """The file may have changed."""
        self._buffer = b""

    def _look(self, offset: int, size: int, limit: int) -> tuple[bytes, int]:
        """At least `size` bytes from `offset`, if there are so many before `limit`, and where in the buffer they are."""
        at = offset - self._buffer_at
        if not 0 <= at <= len(self._buffer) - size:
            self._buffer = self.file.read(offset, min(max(size, AHEAD_BYTES), max(0, limit - offset)))
            self._buffer_at = offset
            at = 0
        return self._buffer, at


def scan(reader: SegmentReader, offset: int, limit: int, *, verify: bool) -> Iterator[Entry]:
    """Every record whose fixed and describing parts are good; payloads are looked at when told to `verify`."""
    while offset < limit:
        entry = reader.entry(offset, limit)
        if entry is None or entry.header.kind == HEAD:
            entry = reader.next_good(offset + 1, limit)
        if entry is None:
            return
        if verify:
            ok = reader.payload(entry) is not None
            entry = Entry(entry.offset, entry.header, entry.meta, ok)
        yield entry
        offset = entry.end


def read_head(file: WalFile, size: int) -> tuple[Head, int] | None:
    """The head of a segment, from whichever of its two copies is good, and where the records begin; None when both are bad."""
    reader = SegmentReader(file, 0)
    found = reader.entry(0, size)
    if found is not None and found.header.kind == HEAD:
        data_at = 2 * found.header.record_bytes
        copies = [found, reader.entry(found.end, size)]
    else:
        copies = [_search_head(reader, 1, min(size, record.META_BYTES_MAX))]
        data_at = 0 if copies[0] is None else copies[0].end
    for entry in copies:
        payload = reader.payload(entry) if entry is not None and entry.header.kind == HEAD else None
        if payload is not None:
            return _decode_head(payload), data_at
    return None


def _decode_head(payload: bytes) -> Head:
    try:
        return record.decode_head(payload)
    except msgspec.DecodeError as error:
        raise CorruptError(f"the head of a segment is of another version of the log: {error}") from error


def _search_head(reader: SegmentReader, offset: int, limit: int) -> Entry | None:
    """The second copy, when the first is unreadable."""
    data = reader.file.read(offset, max(0, limit - offset))  # the file may be empty
    at = data.find(MAGIC)
    while at >= 0:
        found = reader.entry(offset + at, limit)
        if found is not None and found.header.kind == HEAD:
            return found
        at = data.find(MAGIC, at + 1)
    return None


def encode_head(head: Head, first: int) -> bytes:
    """Both copies."""
    payload = msgspec.json.encode(head)
    return (record.encode(HEAD, b"{}", payload, 0, number=first, durable=first) + payload) * 2


def segment_name(sequence: int, first: int, *, damaged: bool = False) -> str:
    """Names sort in the order of segments."""
    return f"{sequence:010d}-{first:020d}{DAMAGED_SUFFIX if damaged else SUFFIX}"


def retired_name(segment: Segment) -> str:
    """Of a damaged segment of which everything good was delivered."""
    return f"{segment.sequence:010d}-{segment.first:020d}{RETIRED_SUFFIX}"


def is_retired(name: str) -> bool:
    """Whether a file is one of those."""
    return name.endswith(RETIRED_SUFFIX) and not name.endswith(DAMAGED_SUFFIX)


def parse_name(name: str) -> Segment | None:
    """A segment of which only the name is known; None when it is not one's name."""
    match = _NAME.match(name)
    if match is None:
        return None
    first = int(match[2])
    damaged = match[3] is not None
    return Segment(int(match[1]), first, first, 0, damaged=damaged, is_counted=damaged)
