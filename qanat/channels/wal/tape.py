"""Reading a log from one number to the next, over the ends of segments and past damage."""

from __future__ import annotations

from collections.abc import Callable

from qanat.batch import Batch, PayloadForm
from qanat.channels import streams
from qanat.channels.wal.log import Log
from qanat.channels.wal.record import BATCH, HEAD
from qanat.channels.wal.segment import Entry, Segment, SegmentReader


class Tape:
    """One reader's place in a log. It reads from the files: nothing is kept in memory but a few kilobytes.

    *Thread*: one, another one than that which writes.
    """

    def __init__(self, log: Log, stream: str, wall_ns: Callable[[], int]) -> None:
        self._log = log
        self._stream = stream
        self._wall_ns = wall_ns
        self._segment: Segment | None = None
        self._reader: SegmentReader | None = None
        self._offset = 0
        self._number = 0  # events from here on are at `_offset` or behind

    def fetch(self, number: int) -> Batch:
        """The batch with the event `number`, which is durable; one that begins behind it, or is empty, when it is gone.

        Raises OSError when the log can't be read now."""
        end = self._log.durable
        segment = self._place(number)
        while True:
            limit, following = self._log.extent(segment)
            entry = self._next(segment, limit)
            if entry is None or entry.header.number >= (limit_number := segment.last):
                if following is None:
                    return streams.gap(self._stream, number, end, self._wall_ns())
                if (
                    self._number < segment.last
                ):  # no bad byte, and yet too short: cut off, or the next one deleted
                    self._damaged(segment, limit)
                segment = self._enter(following, following.first)
                continue
            if entry.header.kind != BATCH or entry.header.next_number <= number:
                self._offset, self._number = entry.end, entry.header.next_number
                continue
            batch = self._batch(entry)
            if batch is None:
                self._damaged(segment, limit)
                self._offset, self._number = entry.end, min(entry.header.next_number, limit_number)
                continue
            if batch.start > number:  # that one is read next
                self._offset, self._number = entry.offset, batch.start
            else:
                self._offset, self._number = entry.end, batch.end
            return batch

    def unread_bytes(self, number: int) -> int:
        """Of durable records that have not been read, about."""
        if number >= self._log.durable:
            return 0
        with self._log.guard:
            segment = self._log.segments.find(number)
            later = [each for each in self._log.segments.all if each.sequence > segment.sequence]
        is_here = segment is self._segment and self._number <= number
        limit, _ = self._log.extent(segment)
        begin = self._offset if is_here else segment.offset_of(number)
        return max(0, limit - begin) + sum(each.size - each.data_at for each in later)

    def close(self) -> None:
        """Release the file; `fetch` opens it again."""
        if self._reader is not None:
            self._reader.file.close()
        self._reader = self._segment = None

    def _place(self, number: int) -> Segment:
        """The segment of `number`; stays where it is when that is before it in the same segment."""
        with self._log.guard:
            segment = self._log.segments.find(number)
        if segment is self._segment and self._number <= number:
            return segment
        return self._enter(segment, number)

    def _enter(self, segment: Segment, number: int) -> Segment:
        self.close()
        file = self._log.segments.open(segment)
        self._segment = segment
        self._reader = SegmentReader(file, self._log.segments.seed)
        self._offset = segment.offset_of(number)
        self._number = number if self._offset > segment.data_at else segment.first
        return segment

    def _next(self, segment: Segment, limit: int) -> Entry | None:
        """The next good record; None when there is none before `limit`."""
        reader = self._reader
        assert reader is not None
        if self._offset >= limit:
            return None
        entry = reader.entry(self._offset, limit)
        if entry is None or entry.header.kind == HEAD:
            self._damaged(segment, limit)
            reader.forget_buffer()
            entry = reader.next_good(self._offset + 1, limit)
            self._offset = limit if entry is None else entry.offset
        return entry

    def _batch(self, entry: Entry) -> Batch | None:
        assert self._reader is not None
        payload = self._reader.payload(entry)
        if payload is None:
            return None
        header, meta = entry.header, entry.decode_meta()
        made = Batch(
            self._stream, header.number, header.next_number, header.count, header.payload_form, payload,
            header.timestamp_ns, meta.attributes,
        )  # fmt: skip
        if made.form is PayloadForm.LINES:
            return made
        from dataclasses import replace

        from qanat import columns

        return replace(made, payload=columns.decode(payload))

    def _damaged(self, segment: Segment, limit: int) -> None:
        self._log.set_aside(segment, limit)
