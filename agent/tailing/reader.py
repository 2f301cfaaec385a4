"""Cutting a file into batches: big blocks, cut at their last line end, nothing done per line.

Every block is read with a few bytes of what precedes it. They must be what was there when it was read last: a file that
was truncated and has grown past the position again is noticed before anything of it is taken for more of the old one.
"""

from __future__ import annotations

import os

from agent.tailing.content import is_intact
from agent.tailing.dead_letters import DeadLetters
from agent.tailing.handles import Handles
from agent.tailing.identity import FINGERPRINT_BYTES, TAIL_BYTES
from agent.tailing.stream import Stream
from qanat import limits
from qanat.batch import Batch, lines_batch
from qanat.component import Context
from qanat.limits import Oversize

# A line that has no end yet is searched for one from where the search stopped, when that is worth a read of its own.
_RESCAN_BYTES = 64 << 10
# How much of a long line is searched before other streams get their turn.
_SCAN_BYTES_MAX = 64 << 20


class ContentChangedError(Exception):
    """The file no longer has the bytes that were read: truncated, or overwritten."""


class VanishedError(Exception):
    """The file can't be found any more."""


class Reader:
    """Reads batches of streams a block at a time; a line longer than `event_bytes` follows `policy`.

    `has_lost_state`: files were recognised without one."""

    has_lost_state = False

    def __init__(
        self, handles: Handles, context: Context, policy: Oversize, event_bytes: int, dead: DeadLetters
    ) -> None:
        self._handles = handles
        self._context = context
        self._policy = policy
        self._event_bytes = event_bytes
        self._dead = dead
        self._block = b""

    def read(self, stream: Stream, max_bytes: int) -> Batch | None:
        """The next batch; None when there is no complete event. Raises OSError and the errors of this module."""
        if stream.gone:
            return self._gap(stream)
        fd = self._handles.get(stream)
        if fd is None:
            raise VanishedError
        if self._known_incomplete(fd, stream):
            return None
        want = min(max(max_bytes, 1), limits.BATCH_BYTES_MAX)
        while True:
            first, stop = self._fill(fd, stream, want)
            last = self._last_end(first, stop)
            if last > first:
                return self._take(stream, first, last)
            if stop - first > self._event_bytes:
                return self._oversize(fd, stream, first)
            if stop - first < want or want > self._event_bytes:
                return self._incomplete(stream, first, stop)
            want = self._event_bytes + 1  # the line is longer than what was asked for: one event at least

    @property
    def due_s(self) -> float:
        """When `release` has something to do, monotonic."""
        return float("inf")

    def release(self) -> None:
        """Let streams be read that waited for the time."""

    def tail_before(self, stream: Stream, position: int) -> bytes:
        """The bytes before `position` that later reads are checked against."""
        if position == 0:
            return b""  # without opening the file once more, of ten thousand that were just found
        fd = self._handles.get(stream)
        if fd is None:
            raise VanishedError
        if not is_intact(stream, fd):  # before what is there now is taken for what was
            raise ContentChangedError
        length = min(position, TAIL_BYTES)
        tail = os.pread(fd, length, position - length)
        if len(tail) < length:
            raise ContentChangedError
        return tail

    def _fill(self, fd: int, stream: Stream, want: int) -> tuple[int, int]:
        """Read up to `want` bytes at the cursor; where in the block they are."""
        assert stream.cursor is not None
        before = len(stream.tail or b"")
        if stream.end is not None:
            want = min(want, stream.end - stream.cursor)
        # Measured: pread into new memory is not slower than preadv into a reused buffer, and often much faster.
        self._block = os.pread(fd, want + before, stream.cursor - before)
        got = len(self._block)
        if got < before or (stream.tail and not self._block.startswith(stream.tail)):
            raise ContentChangedError
        if stream.cursor == 0 and not stream.fingerprint.matches(os.pread(fd, FINGERPRINT_BYTES, 0)):
            raise ContentChangedError
        if stream.end is not None and got < want + before:
            raise ContentChangedError
        stream.size = max(stream.size, stream.cursor + got - before)
        return before, got

    def _last_end(self, first: int, stop: int) -> int:
        """After the last line end before which no line is too long; steps are about `event_bytes` long."""
        if stop - first <= self._event_bytes + 1:
            return max(first, self._block.rfind(b"\n", first, stop) + 1)
        while True:
            at = self._block.rfind(b"\n", first, min(stop, first + self._event_bytes + 1))
            if at < 0:
                return first
            first = at + 1

    def _take(self, stream: Stream, first: int, last: int) -> Batch:
        assert stream.cursor is not None
        payload = self._block[first:last]
        return self._advance(stream, payload, stream.cursor + last - first, self._tail_at(last))

    def _tail_at(self, at: int) -> bytes:
        """What precedes offset `at` of the block."""
        return self._block[max(0, at - TAIL_BYTES) : at]

    def _advance(self, stream: Stream, payload: bytes, end: int, tail: bytes) -> Batch:
        assert stream.cursor is not None
        self._block = b""  # while the batch is sent, its memory serves better than this one's
        batch = lines_batch(
            stream.id,
            stream.cursor,
            payload,
            timestamp_ns=self._context.clock.wall_ns(),
            attributes=stream.attributes,
            end=end,
        )
        stream.place(end, tail)
        return batch

    def _incomplete(self, stream: Stream, first: int, stop: int) -> Batch | None:
        """A line without its end: waits, unless the file is over."""
        assert stream.cursor is not None
        if stream.end is None or stop == first:
            stream.scanned = stream.cursor + stop - first
            return None
        payload = self._block[first:stop] + b"\n"
        return self._advance(stream, payload, stream.end, self._tail_at(stop))

    def _oversize(self, fd: int, stream: Stream, first: int) -> Batch | None:
        assert stream.cursor is not None
        stop = first + self._event_bytes
        head = self._block[first:stop] + b"\n"
        if self._policy is Oversize.SPLIT:
            self._context.count("events_split", 1)
            return self._advance(stream, head, stream.cursor + self._event_bytes, self._tail_at(stop))
        end = self._line_end(fd, stream)
        if end is None:
            return None
        if self._policy is Oversize.TRUNCATE:
            self._context.count("events_truncated", 1)
            self._context.count("bytes_truncated", end - stream.cursor - self._event_bytes)
        else:
            self._dead.keep(fd, stream.id, stream.cursor, end)
            head = b""
        length = min(end, TAIL_BYTES)
        return self._advance(stream, head, end, os.pread(fd, length, end - length))

    def _known_incomplete(self, fd: int, stream: Stream) -> bool:
        """Whether the line at the cursor, searched before, has no end in what came since either."""
        assert stream.cursor is not None
        if stream.end is not None or stream.scanned - stream.cursor < _RESCAN_BYTES:
            return False
        if self._policy is Oversize.SPLIT and stream.size - stream.cursor > self._event_bytes:
            return False
        return self._line_end(fd, stream) is None and (
            self._policy is not Oversize.SPLIT or stream.scanned - stream.cursor <= self._event_bytes
        )

    def _line_end(self, fd: int, stream: Stream) -> int | None:
        """After the end of the line at the cursor; None when there is none yet, or the search goes on later."""
        assert stream.cursor is not None
        limit = stream.scanned + _SCAN_BYTES_MAX
        while stream.scanned < limit:
            block = os.pread(fd, limits.BATCH_BYTES_TARGET, stream.scanned)
            got = len(block) if stream.end is None else min(len(block), stream.end - stream.scanned)
            at = block.find(b"\n", 0, got)
            if at >= 0:
                return stream.scanned + at + 1
            stream.scanned += got
            stream.size = max(stream.size, stream.scanned)
            if got == 0 or stream.scanned == stream.end:
                return stream.end
        return None

    def _gap(self, stream: Stream) -> Batch:
        """Bytes that don't exist any more, as an empty batch: positions go on, the loss is counted."""
        assert stream.cursor is not None
        assert stream.end is not None
        self._context.count("bytes_lost_truncate", stream.end - stream.cursor)
        return self._advance(stream, b"", stream.end, b"")
