"""From the bytes of a connection to whole events. [pure]

A framer is given what was received, and gives back what is complete; it holds at most one event that is not. An event above
`event_bytes` follows the policy: `split` into events of that size (no byte is lost), `truncate`, or `dead-letter`: all of it goes
there as it comes, and nothing of it is an event.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from qanat.lines import LINE_END

# Pieces of an event that are kept apart: each is an object of some 40 bytes, and a peer may send two bytes at a time.
PIECES_MAX = 256

TRUNCATED = "events_truncated"  # counted: events whose end was dropped
SPLIT = "events_split"  # counted: events that became several


OversizeOf = Literal["split", "truncate", "dead-letter"]


class Letter(Protocol):
    """One event that is kept elsewhere, piece by piece."""

    def write(self, data: bytes) -> None:
        """More of it."""

    def end(self) -> None:
        """That was all there is."""


class Letters(Protocol):
    """Where events are kept that are too large."""

    def begin(self) -> Letter:
        """For another one."""


@dataclass(frozen=True, slots=True)
class SizePolicy:
    """`count` is told of each event that is too large; `letters` are for `dead-letter`."""

    event_bytes: int
    oversize: OversizeOf
    count: Callable[[str, int], None] = lambda name, n: None
    letters: Letters | None = None

    @property
    def counter(self) -> str:
        """What a too large event is counted as."""
        return TRUNCATED if self.oversize == "truncate" else SPLIT

    def cut(self, event: bytes) -> list[bytes]:
        """What becomes of an event, which has no line end."""
        if len(event) <= self.event_bytes:
            return [event]
        if self.letters is not None:
            letter = self.letters.begin()
            letter.write(event)
            letter.end()
            return []
        self.count(self.counter, 1)
        if self.oversize == "truncate":
            return [event[: self.event_bytes]]
        return [event[at : at + self.event_bytes] for at in range(0, len(event), self.event_bytes)]


class Framer(Protocol):
    """One connection."""

    @property
    def held_bytes(self) -> int:
        """Of an event that is not complete."""

    def feed(self, data: bytes) -> bytes | list[bytes]:
        """Complete events: as lines, or as a list of bodies, which may contain line ends. Empty when there is none."""

    def finish(self) -> bytes | list[bytes]:
        """The peer says no more: what is left, if anything."""


class LineFramer:
    """Events end in a line end. `\\r\\n` is one, too; an empty line is no event."""

    def __init__(self, policy: SizePolicy) -> None:
        self._held_bytes = 0
        self._policy = policy
        self._held: list[bytes] = []
        self._discarding = False  # the rest of a line that was truncated, or goes on in a letter
        self._letter: Letter | None = None

    @property
    def held_bytes(self) -> int:
        """See Framer."""
        return self._held_bytes

    def feed(self, data: bytes) -> bytes:
        """Complete lines."""
        if self._discarding:
            end = data.find(LINE_END)
            if self._letter is not None:
                self._letter.write(data if end < 0 else data[:end])
            if end < 0:
                return b""
            self._end_letter()
            self._discarding = False
            data = data[end + 1 :]
        cut = data.rfind(LINE_END) + 1
        if not cut:
            self._hold(data)
            return self._too_much() if self._held_bytes > self._policy.event_bytes else b""
        block = b"".join((*self._held, data[:cut]))
        self._held.clear()
        self._held_bytes = 0
        self._hold(data[cut:])
        block = self._within(block)
        return block + self._too_much() if self._held_bytes > self._policy.event_bytes else block

    def finish(self) -> bytes:
        """The last line, which has no end."""
        self._end_letter()
        rest = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return self._within(rest + LINE_END) if rest else b""

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
        if len(self._held) > PIECES_MAX:
            self._held = [b"".join(self._held)]

    def _too_much(self) -> bytes:
        """What is held is larger than an event may be, and goes on."""
        held = b"".join(self._held)
        self._held.clear()
        limit = self._policy.event_bytes
        if self._policy.letters is not None:
            self._letter = self._policy.letters.begin()
            self._letter.write(held)
            self._discarding = True
            self._held_bytes = 0
            return b""
        if self._policy.oversize == "truncate":
            self._policy.count(TRUNCATED, 1)
            self._discarding = True
            self._held_bytes = 0
            return held[:limit] + LINE_END
        whole = len(held) // limit * limit
        self._policy.count(SPLIT, 1)
        self._held = [held[whole:]] if whole < len(held) else []
        self._held_bytes = len(held) - whole
        return b"".join(held[at : at + limit] + LINE_END for at in range(0, whole, limit))

    def _end_letter(self) -> None:
        if self._letter is not None:
            self._letter.end()
            self._letter = None

    def _within(self, block: bytes) -> bytes:
        """Lines without empty ones, none of them too long. Only bytes methods, unless there is something to mend."""
        if b"\r\n" in block:
            block = block.replace(b"\r\n", LINE_END)
        if b"\n\n" in block or block.startswith(LINE_END):
            block = b"".join(line + LINE_END for line in block.split(LINE_END) if line)
        if not _has_longer(block, self._policy.event_bytes):
            return block
        lines = block[:-1].split(LINE_END)
        return b"".join(part + LINE_END for line in lines for part in self._policy.cut(line))


def _has_longer(block: bytes, line_bytes: int) -> bool:
    """Whether a line of the block has more than so many bytes. From the begin of one line to that of the last which begins no
    further than a line may go: each byte is looked at once at most, and most are not."""
    at = 0
    while len(block) - at > line_bytes + 1:
        end = block.rfind(LINE_END, at, at + line_bytes + 1)
        if end < 0:
            return True
        at = end + 1
    return False


# What a frame with a count begins with (RFC 6587, 3.4.1): a number without leading zeros, a space, and the message, which
# begins with its priority. Ten digits: a message of a gigabyte is one that follows the policy, more is no count.
_COUNTED = re.compile(rb"[1-9][0-9]{0,9} ")
_COUNT_BYTES_MAX = 11  # of the longest count, with its space


# What senders put behind a message that they count, as if it were a line: no part of it, as in a datagram.
ENDS = b"\r\n\0"


class CountedFramer:
    """Events have their length before them. Where there should be one and is not, the rest is taken as lines.

    `ends`: what is left out at the end of an event, if it is there; one that has nothing else is none."""

    def __init__(self, policy: SizePolicy, ends: bytes = b"") -> None:
        self._policy = policy
        self._ends = ends
        self._held = b""
        self._pieces: list[bytes] = []  # behind what is held
        self._pieces_bytes = 0
        self._wanted_bytes = 0  # in pieces, before it is worth to look again
        self._missing = 0  # bytes of an event too large to be held that are still to come
        self._part = 0  # of them, those that belong to the part which is being gathered
        self._letter: Letter | None = None  # that has what came of such an event
        self._lines: LineFramer | None = None

    @property
    def held_bytes(self) -> int:
        """See Framer."""
        return len(self._held) + self._pieces_bytes + (self._lines.held_bytes if self._lines else 0)

    def feed(self, data: bytes) -> list[bytes]:
        """Complete events. A loop over them: their lengths can't be known otherwise."""
        if self._lines is not None:
            return _bodies(self._lines.feed(data))
        if self._wanted_bytes:
            data = self._gather(data)
            if not data:
                return []
        events: list[bytes] = []
        at, size, limit = 0, len(data), self._policy.event_bytes
        while at < size:
            if self._missing:
                taken = self._take_missing(data, at, events)
                if not taken:
                    return self._wait_for(data[at:], self._next_part, events)
                at += taken
                continue
            space = data.find(b" ", at, at + _COUNT_BYTES_MAX)
            digits = data[at:space] if space > 0 else data[at : at + _COUNT_BYTES_MAX]
            if not digits.isdigit() or digits[0] == 0x30 or (space < 0 and size - at >= _COUNT_BYTES_MAX):
                return self._give_up(data[at:], events)
            if space < 0:
                return self._wait_for(data[at:], size - at + 1, events)
            length = int(digits)
            if length > limit:
                self._begin_large(length)
                at = space + 1
                continue
            end = space + 1 + length
            if end > size:
                return self._wait_for(data[at:], end - at, events)
            event = data[space + 1 : end].rstrip(self._ends)
            if event or not self._ends:
                events.append(event)
            at = end
        return events

    def finish(self) -> list[bytes]:
        """What was announced to be longer."""
        if self._lines is not None:
            return _bodies(self._lines.finish())
        held = self._gather(b"", at_once=True)
        if self._letter is not None:
            self._letter.end()
            return []
        if self._missing:
            return [held] if held and self._policy.oversize == "split" else []
        counted = _COUNTED.match(held)
        rest = held[counted.end() :] if counted else held
        return [rest] if rest else []

    def _wait_for(self, rest: bytes, wanted_bytes: int, events: list[bytes]) -> list[bytes]:
        """`rest` is no event before it has so many bytes."""
        self._held = rest
        self._wanted_bytes = wanted_bytes
        return events

    def _gather(self, data: bytes, *, at_once: bool = False) -> bytes:
        """What is held with `data`, or nothing while it is too little: joined once, however small the pieces are."""
        if data:
            self._pieces.append(data)
            self._pieces_bytes += len(data)
        if len(self._held) + self._pieces_bytes < self._wanted_bytes and not at_once:
            if len(self._pieces) > PIECES_MAX:
                self._pieces = [b"".join(self._pieces)]
            return b""
        data = b"".join((self._held, *self._pieces))
        self._held, self._pieces, self._pieces_bytes, self._wanted_bytes = b"", [], 0, 0
        return data

    @property
    def _next_part(self) -> int:
        """How many bytes of a too large event are taken together; one is enough of what is thrown away."""
        if self._part and self._policy.oversize == "truncate":
            return 1
        return min(self._policy.event_bytes, self._missing)

    def _begin_large(self, length: int) -> None:
        self._missing = length
        if self._policy.letters is None:
            self._policy.count(self._policy.counter, 1)
        else:
            self._letter = self._policy.letters.begin()

    def _write_missing(self, letter: Letter, data: bytes, at: int) -> int:
        taken = min(self._missing, len(data) - at)
        letter.write(data[at : at + taken])
        self._missing -= taken
        if not self._missing:
            letter.end()
            self._letter = None
        return taken

    def _take_missing(self, data: bytes, at: int, events: list[bytes]) -> int:
        """The next part of an event that is too large; gives how much it is: nothing, when not all of it is there."""
        limit = self._policy.event_bytes
        if self._letter is not None:
            return self._write_missing(self._letter, data, at)
        if self._policy.oversize == "truncate" and self._part:
            passed = min(self._missing, len(data) - at)
            self._missing -= passed
            self._part = self._part if self._missing else 0
            return passed
        part = min(limit, self._missing)
        if len(data) - at < part:
            return 0
        events.append(data[at : at + part])
        self._missing -= part
        self._part = 1 if self._missing and self._policy.oversize == "truncate" else 0
        return part

    def _give_up(self, rest: bytes, events: list[bytes]) -> list[bytes]:
        self._policy.count("framing_errors", 1)
        self._lines = LineFramer(self._policy)
        return events + _bodies(self._lines.feed(rest))


class SyslogFramer:
    """Finds out from the first bytes which of the two a connection uses."""

    def __init__(self, policy: SizePolicy) -> None:
        self._policy = policy
        self._first = b""
        self._framer: LineFramer | CountedFramer | None = None

    @property
    def held_bytes(self) -> int:
        """See Framer."""
        return len(self._first) if self._framer is None else self._framer.held_bytes

    def feed(self, data: bytes) -> bytes | list[bytes]:
        """Complete events."""
        if self._framer is None:
            self._first += data
            is_counted = _is_counted(self._first)
            if is_counted is None:
                return b""
            self._framer = CountedFramer(self._policy, ENDS) if is_counted else LineFramer(self._policy)
            data, self._first = self._first, b""
        return self._framer.feed(data)

    def finish(self) -> bytes | list[bytes]:
        """What is left."""
        if self._framer is not None:
            return self._framer.finish()
        first, self._first = self._first, b""
        return first + LINE_END if first else b""


def _is_counted(first: bytes) -> bool | None:
    """None: it can't be told from these bytes."""
    counted = _COUNTED.match(first)
    if counted is None:
        return None if len(first) < _COUNT_BYTES_MAX and re.fullmatch(rb"[1-9][0-9]*|", first) else False
    if len(first) == counted.end():
        return None
    return first[counted.end() : counted.end() + 1] == b"<"


def _bodies(lines: bytes) -> list[bytes]:
    return lines[:-1].split(LINE_END) if lines else []
