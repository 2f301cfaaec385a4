"""A source and a channel that do what a test says, and remember what they were told."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch, lines_batch
from qanat.channels.reader import ChannelReader
from qanat.channels.streams import cut_before, numbered
from qanat.component import (
    Channel,
    ChannelConfig,
    Context,
    Cursor,
    Level,
    Source,
    StreamEvent,
    StreamFinished,
    StreamFound,
)
from qanat.errors import RetryableError


def context(directory: Path, count: Callable[[str, int], None] = lambda name, n: None) -> Context:
    return Context("agent", "web", "host", directory, count=count)


def batch(stream: str, start: int, lines: int = 1) -> Batch:
    """Lines of four bytes."""
    return lines_batch(stream, start, b"abc\n" * lines, timestamp_ns=0, attributes={})


class Streams(Source):
    """Streams with so many lines each, finished when they are read, unless `follow`."""

    name = "streams"
    Config = msgspec.Struct

    def __init__(self, context: Context, lengths: Mapping[str, int], *, follow: bool = False) -> None:
        super().__init__(None, context)
        self.lengths = lengths
        self.follow = follow
        self.log: list[tuple[str, Any]] = []
        self.acked: dict[str, int] = {}
        self.save_failures = 0
        self.begin = 0  # what its own state remembers
        self._woken = threading.Event()
        self._news: list[StreamEvent] = []
        self._at: dict[str, int] = {}

    def open(self) -> None:
        self._news = [StreamFound(name, self.begin) for name in self.lengths]

    def recover(self, known: Mapping[str, int]) -> None:
        self.log.append(("recover", dict(known)))

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        if not self._news and not self._readable():
            self._woken.wait(timeout_s)
        self._woken.clear()
        news, self._news = self._news, []
        return news

    def seek(self, stream: str, position: int) -> None:
        self.log.append(("seek", (stream, position)))
        self._at[stream] = position
        self._finish(stream)

    def _readable(self) -> list[str]:
        return [name for name, at in self._at.items() if at < 4 * self.lengths[name]]

    def _finish(self, stream: str) -> None:
        if not self.follow and self._at[stream] >= 4 * self.lengths[stream]:
            self._news.append(StreamFinished(stream, self._at[stream]))

    def read(self, max_bytes: int) -> Batch | None:
        names = self._readable()
        if not names:
            return None
        made = batch(names[0], self._at[names[0]])
        self._at[names[0]] = made.end
        self._finish(names[0])
        return made

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        self.log.append(("acknowledge", dict(positions)))
        self.acked.update(positions)

    def save(self) -> None:
        if self.save_failures:
            self.save_failures -= 1
            raise RetryableError("disk full")
        self.log.append(("save", None))

    def wake(self) -> None:
        self._woken.set()

    def lag_bytes(self) -> int:
        return 0

    def close(self) -> None:
        self.log.append(("close", None))


class Shelf(Channel):
    """Keeps everything in a list. `answers`: what the next puts do: False, or an error to raise; then all are taken."""

    name = "shelf"
    Config = ChannelConfig
    keeps: ClassVar[Level] = Level.BE

    def __init__(self, context: Context, known: Mapping[str, int] | None = None) -> None:
        super().__init__(None, context)
        self.answers: deque[bool | Exception] = deque()
        self.known = dict(known or {})
        self.batches: list[Batch] = []
        self.cursors: dict[str, int] = {}
        self.changed = threading.Condition()
        self.log: list[tuple[str, Any]] = []
        self.waits = 0
        self.open_failures = 0
        self._moved: dict[str, int] = {}

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        if self.open_failures:
            self.open_failures -= 1
            raise RetryableError("the database is away")
        self.cursors = {cursor.name: 0 for cursor in cursors}
        return dict(self.known)

    @property
    def end(self) -> int:
        return self.batches[-1].end if self.batches else 0

    def put(self, batch: Batch) -> bool:
        if self.answers:
            answer = self.answers.popleft()
            if isinstance(answer, Exception):
                raise answer
            if not answer:
                return False
        assert batch.start == self.known.get(batch.stream, batch.start), "batches of a stream are contiguous"
        self.known[batch.stream] = self._moved[batch.stream] = batch.end
        with self.changed:
            self.batches.append(numbered(batch, "web#1", self.end))
            self.changed.notify_all()
        return True

    def wait_for_room(self, timeout_s: float) -> None:
        self.waits += 1

    def accepted(self) -> Mapping[str, int]:
        moved, self._moved = self._moved, {}
        return moved

    def forget(self, streams: Sequence[str]) -> None:
        self.log.append(("forget", list(streams)))
        for name in streams:
            self.known.pop(name, None)

    def next_number(self) -> int:
        return self.end

    def reader(self, cursor: str) -> Source:
        return ShelfReader(self, cursor)

    def close(self) -> None:
        self.log.append(("close", None))


class ShelfReader(ChannelReader):
    """See Shelf."""

    stream = "web#1"

    def __init__(self, shelf: Shelf, cursor: str) -> None:
        super().__init__(shelf.context, shelf.changed)
        self._shelf = shelf
        self._cursor = cursor

    def bounds(self) -> tuple[int, int]:
        return 0, self._shelf.end

    def position(self) -> int:
        return self._shelf.cursors[self._cursor]

    def fetch(self, number: int, max_bytes: int) -> Batch:
        found = next(each for each in self._shelf.batches if each.end > number)
        return cut_before(found, number)

    def move(self, position: int) -> None:
        self._shelf.cursors[self._cursor] = position

    def save(self) -> None: ...

    def lag_bytes(self) -> int:
        return self._shelf.end - (self._number or 0)
