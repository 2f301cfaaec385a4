"""Cutting a file into batches of events of several lines.

Theory of operation. What is read goes on to the last place where no event is open. An event is open until the next one begins, so
the last one of a file is *held*: until the file grows, or nothing came for `timeout`, or the file is over. Then it is *flushed*.
Of a file that another one took the place of, the last event may go on in the other. Where it ends there is found by reading the
other from its beginning; that is saved (`Stream.spliced`), then the beginning of the other is given out without it, and then
the event, at its place in the file where it began. Batches are stored in order, so whatever is stored of that before a crash, the
same events come out of the rest: as long as the event is not stored, the file that it begins in is there to be read again.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pyarrow as pa

from agent.joining.joiner import Joined, Joiner, Spliced
from agent.tailing.dead_letters import DeadLetters
from agent.tailing.handles import Handles
from agent.tailing.identity import FINGERPRINT_BYTES, TAIL_BYTES
from agent.tailing.reader import Reader, VanishedError
from agent.tailing.registry import Registry
from agent.tailing.stream import Stream
from qanat import limits
from qanat.batch import Batch, PayloadForm
from qanat.component import Context
from qanat.limits import Oversize

# How soon to look again at what an event may go on in.
_LOOK_S = 0.1


class JoiningReader(Reader):
    """`has_lost_state`: files were recognised without one. `save`: makes the state durable, or says that it can't be.
    `timeout_s`: see `Multiline`."""

    def __init__(
        self,
        handles: Handles,
        context: Context,
        policy: Oversize,
        event_bytes: int,
        dead: DeadLetters,
        registry: Registry,
        joiner: Joiner,
        timeout_s: float,
        save: Callable[[], bool],
    ) -> None:
        super().__init__(handles, context, policy, event_bytes, dead)
        self._registry = registry
        self._joiner = joiner
        self._timeout_s = timeout_s
        self._save = save
        self.has_lost_state = False
        self._due: dict[Stream, float] = {}
        self._give_up_s: dict[Stream, float] = {}  # when the end of an event is not looked for any more
        # A block that holds one event of the largest size, whatever lines of another are between its own.
        self._want_max = min(2 * event_bytes + 2, limits.BATCH_BYTES_MAX // 2)

    @property
    def due_s(self) -> float:
        """See Reader."""
        return min(self._due.values(), default=float("inf"))

    def release(self) -> None:
        """See Reader."""
        now_s = self._context.clock.monotonic_s()
        for stream in [stream for stream, due_s in self._due.items() if due_s <= now_s]:
            del self._due[stream]
            if stream.held and self._registry.get(stream.id) is stream:
                stream.held, stream.flush = False, True
                self._registry.enqueue(stream)

    def read(self, stream: Stream, max_bytes: int) -> Batch | None:
        """See Reader."""
        if stream.gone:
            return self._gap(stream)
        fd = self._handles.get(stream)
        if fd is None:
            raise VanishedError
        want = min(max(max_bytes, 1), self._want_max)
        while True:
            first, stop = self._fill(fd, stream, want)
            is_all = stop - first < want
            if stream.spliced is not None and self._at(stream) < stream.spliced[0]:
                # What was written to it since comes behind that event.
                stop = min(stop, first + stream.spliced[0] - self._at(stream))
            data, is_cut = self._lines(stream, first, stop)
            if not data and stop - first > self._event_bytes:
                return self._oversize(fd, stream, first)
            found = self._joiner.join(data, self._at(stream), whole=is_cut)
            if found is not None:
                return self._give(stream, found, first)
            if is_all:
                return self._last(stream, data, first, stop)
            if want == self._want_max:  # longer than any event may be
                return self._whole(stream, data, first)
            want = self._event_bytes + 1 if want <= self._event_bytes else self._want_max

    def _lines(self, stream: Stream, first: int, stop: int) -> tuple[bytes, bool]:
        """The complete lines of the block, and whether one that is too long follows."""
        last = self._last_end(first, stop)
        rest = stop - last
        if rest > self._event_bytes or self._block.find(b"\n", last, stop) >= 0:
            return self._block[first:last], True
        if rest and stream.end is not None and self._at(stream) + stop - first >= stream.end:
            return self._block[first:stop] + b"\n", False
        return self._block[first:last], False

    def _last(self, stream: Stream, data: bytes, first: int, stop: int) -> Batch | None:
        """All that there is may go on."""
        if not data or not (stream.flush or stream.end is not None):
            stream.scanned = self._at(stream) + stop - first
            stream.flush = False
            if data:
                self._hold(stream, self._timeout_s)
            return None
        after = self._successor(stream)
        if after is None:
            return self._whole(stream, data, first)
        return self._across(stream, after, data, first, min(stop, first + len(data)))

    def _whole(self, stream: Stream, data: bytes, first: int) -> Batch | None:
        found = self._joiner.join(data, self._at(stream), whole=True)
        return self._give(stream, found, first) if found is not None else None

    # -- an event that goes on in the next file -----------------------------------------------------------------------

    def _successor(self, stream: Stream) -> Stream | None:
        """The file that took the place of this one, as long as the last event of this one may go on there."""
        after = stream.succ[0] if stream.succ else None
        if after is None or after.gone or (stream.left_home_s is None and stream.end is None):
            return None
        if stream.spliced is not None:  # kept: until it is acked, it may be wanted again
            return after if self._at(stream) < stream.spliced[0] else None
        is_lost = self.has_lost_state and stream.ceded is None
        return after if not after.cursor or is_lost else None

    def _across(self, stream: Stream, after: Stream, data: bytes, first: int, stop: int) -> Batch | None:
        if after.cursor is None:  # nobody has said yet from where it is wanted
            self._hold(stream, _LOOK_S)
            return None
        beginning = self._beginning(after)
        if stream.spliced is not None:
            beginning = beginning[: stream.spliced[1]]
        if not beginning:
            return self._whole(stream, data, first)
        spliced = self._splice(stream, data, beginning)
        if stream.spliced is None and after.cursor:
            # The state is gone that would have said it: where the other is read on from is where the event ends there, or it
            # was read without regard to this one.
            if spliced is None or spliced.end != after.cursor:
                return self._whole(stream, data, first)
            stream.spliced = (self._at(stream) + stop - first, spliced.end)
        if spliced is None:
            self._hold(stream, _LOOK_S)
            return None
        end = self._at(stream) + stop - first
        if spliced.end > 0 and stream.spliced is None:
            stream.spliced = (end, spliced.end)
            if not self._save():
                stream.spliced = None
                self._hold(stream, _LOOK_S)
                return None
        if spliced.end > after.cursor:
            tail = beginning[max(0, spliced.end - TAIL_BYTES) : spliced.end]
            return self._batch(after, spliced.after, spliced.end, tail)
        return self._batch(stream, spliced.before, end, self._tail_at(stop))

    def _splice(self, stream: Stream, data: bytes, beginning: bytes) -> Spliced | None:
        if stream.spliced is not None:
            return self._joiner.splice(data, beginning, self._at(stream), whole=True)
        now_s = self._context.clock.monotonic_s()
        give_up_s = self._give_up_s.setdefault(stream, now_s + self._timeout_s)
        return self._joiner.splice(data, beginning, self._at(stream), whole=now_s >= give_up_s)

    def _beginning(self, stream: Stream) -> bytes:
        """The first lines of a file; none when it is another one by now, which is found out where it is read."""
        fd = self._handles.get(stream)
        if fd is None:
            return b""
        data = os.pread(fd, self._event_bytes, 0)
        if stream.end is not None:
            data = data[: stream.end]
        if not stream.fingerprint.matches(data[:FINGERPRINT_BYTES]):
            return b""
        return data[: data.rfind(b"\n") + 1]

    # -- giving out ---------------------------------------------------------------------------------------------------

    def _give(self, stream: Stream, found: Joined, first: int) -> Batch:
        stop = min(first + found.end - self._at(stream), len(self._block))
        end = self._at(stream) + stop - first
        return self._batch(stream, found.columns, end, self._tail_at(stop))

    def _batch(self, stream: Stream, columns: pa.RecordBatch, end: int, tail: bytes) -> Batch:
        self._block = b""
        self._due.pop(stream, None)
        self._give_up_s.pop(stream, None)
        empty = columns.num_rows == 0
        batch = Batch(
            stream=stream.id,
            start=self._at(stream),
            end=end,
            count=columns.num_rows,
            form=PayloadForm.LINES if empty else PayloadForm.COLUMNS,
            payload=b"" if empty else columns,
            timestamp_ns=self._context.clock.wall_ns(),
            attributes=stream.attributes,
        )
        flush = stream.flush
        stream.place(end, tail)
        stream.flush = flush and end < stream.size  # what is left of it is over, too
        return batch

    def _hold(self, stream: Stream, wait_s: float) -> None:
        stream.held = True
        self._due[stream] = self._context.clock.monotonic_s() + wait_s

    def _at(self, stream: Stream) -> int:
        assert stream.cursor is not None
        return stream.cursor
