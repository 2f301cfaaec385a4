"""From the content of one file to batches of events; those that make lines of lines, and blobs, import no Arrow."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from agent.spooling.content import Content
from qanat import limits
from qanat.batch import Payload
from qanat.limits import Oversize
from qanat.lines import count_lines

# Counted.
SPLIT, TRUNCATED, TRUNCATED_BYTES = "events_split", "events_truncated", "bytes_truncated"


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive events; they cover the positions from where was read up to `end`."""

    payload: Payload
    count: int
    end: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for every file of a source. `keep(start, end, blocks)`: puts an event that is too large to the dead letters."""

    event_bytes: int
    oversize: Oversize
    count: Callable[[str, int], None]
    keep: Callable[[int, int, Iterator[bytes]], None]


class Deserializer(abc.ABC):
    """Reads a file from any position that it gave before. The same file gives the same events at the same positions.

    All methods raise OSError when the file can't be read, and PermanentError for content that can't be understood."""

    position: int = 0

    @abc.abstractmethod
    def read(self, max_bytes: int) -> Piece | None:
        """What follows `position`, which moves behind it; None at the end."""

    def seek(self, position: int) -> None:
        """Read from there next."""
        self.position = position


class Text(Deserializer):
    """Of lines; a position is a byte offset, of what is compressed in the decompressed content."""

    def __init__(self, content: Content, rules: Rules) -> None:
        self._content = content
        self._rules = rules

    def read(self, max_bytes: int) -> Piece | None:
        want = min(max(max_bytes, 1), limits.BATCH_BYTES_MAX)
        event_bytes = self._rules.event_bytes
        while True:
            block = self._content.block(self.position, want)
            if not block:
                return None
            last = last_end(block, event_bytes)
            is_end = len(block) < want
            if is_end and len(block) - last <= event_bytes and block.find(b"\n", last) < 0:
                last = len(block)
            if last:
                return self._give(block[:last], self.position + last, is_end=is_end and last == len(block))
            if len(block) > event_bytes:
                return self._too_long(block[:event_bytes])
            want = event_bytes + 1

    def lines(self, data: bytes) -> Piece:
        """Complete lines from `position` as events; those at the end may be left for the next time."""
        return Piece(data, count_lines(data), self.position + len(data))

    def _give(self, data: bytes, end: int, *, is_end: bool) -> Piece:
        piece = self.lines(data if data.endswith(b"\n") else data + b"\n")
        piece = replace(piece, end=min(piece.end, end))
        self.position = piece.end
        return piece

    def _too_long(self, head: bytes) -> Piece:
        """A line above the limit: split into pieces, or cut, or kept elsewhere."""
        count, event_bytes = self._rules.count, self._rules.event_bytes
        if self._rules.oversize is Oversize.SPLIT:
            count(SPLIT, 1)
            piece = Piece(head + b"\n", 1, self.position + event_bytes)
        else:
            end = self._line_end()
            if self._rules.oversize is Oversize.TRUNCATE:
                count(TRUNCATED, 1)
                count(TRUNCATED_BYTES, end - self.position - event_bytes)
                piece = Piece(head + b"\n", 1, end)
            else:
                self._rules.keep(self.position, end, self._blocks(self.position, end))
                piece = Piece(b"", 0, end)
        self.position = piece.end
        return piece

    def _line_end(self) -> int:
        at = self.position
        while block := self._content.block(at, limits.BATCH_BYTES_TARGET):
            found = block.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(block)
        return at

    def _blocks(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            block = self._content.block(start, min(limits.BATCH_BYTES_TARGET, end - start))
            if not block:
                return
            yield block
            start += len(block)


class Blob(Deserializer):
    """A file as one event, or, when it is larger than an event may be, as several in a row. Positions are byte offsets."""

    def __init__(self, content: Content, rules: Rules) -> None:
        self._content = content
        self._rules = rules

    def read(self, max_bytes: int) -> Piece | None:
        from agent.spooling.tables import one_event

        start, event_bytes = self.position, self._rules.event_bytes
        body = self._content.block(start, event_bytes + 1)
        if not body:
            return None
        if len(body) > event_bytes and self._rules.oversize is not Oversize.SPLIT:
            return self._too_large(body[:event_bytes])
        if len(body) > event_bytes:
            self._rules.count(SPLIT, 1)
            body = body[:event_bytes]
        self.position += len(body)
        return Piece(one_event(body, start), 1, self.position)

    def _too_large(self, head: bytes) -> Piece:
        from agent.spooling.tables import one_event

        start = end = self.position
        while block := self._content.block(end, limits.BATCH_BYTES_TARGET):
            end += len(block)
        self.position = end
        if self._rules.oversize is Oversize.TRUNCATE:
            self._rules.count(TRUNCATED, 1)
            self._rules.count(TRUNCATED_BYTES, end - start - len(head))
            return Piece(one_event(head, start), 1, end)
        self._rules.keep(start, end, self._blocks(start, end))
        return Piece(b"", 0, end)

    def _blocks(self, start: int, end: int) -> Iterator[bytes]:
        for at in range(start, end, limits.BATCH_BYTES_TARGET):
            yield self._content.block(at, min(limits.BATCH_BYTES_TARGET, end - at))


def last_end(block: bytes, event_bytes: int) -> int:
    """After the last line end before which no line is too long; steps are about `event_bytes` long."""
    if len(block) <= event_bytes + 1:
        return block.rfind(b"\n") + 1
    first = 0
    while (at := block.rfind(b"\n", first, first + event_bytes + 1)) >= 0:
        first = at + 1
    return first
