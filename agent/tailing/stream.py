"""One incarnation of a file, as the source knows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from agent.tailing.identity import Fingerprint, Mark, digest


@dataclass(eq=False, slots=True)
class Stream:
    """One incarnation of a file.

    `home`: the watched path it was discovered at; the streams of one home are read in the order of their nonces.
    `at`: the watched paths it is at now. None left: it was rotated away or deleted.
    `where`: a path to reopen it by, as far as known.
    """

    id: str
    nonce: int
    home: str
    dev: int
    ino: int
    fingerprint: Fingerprint
    attributes: dict[str, str]
    start: int  # where reading begins by itself
    acked: int
    size: int  # bytes that exist, as far as known
    mtime_ns: int  # of the file, when it was last looked at
    grown_at_s: float  # monotonic
    seen_ns: int  # its mtime when it was last seen at `home`: what is created there after it is not older
    mark: Mark | None = (
        None  # of the furthest read position of the last process, or the size when it was found
    )
    where: str | None = None
    at: set[str] = field(default_factory=set)
    cursor: int | None = None  # read position; None until the first seek
    high: int = 0  # the furthest position read
    high_tail: bytes | None = None  # the last bytes before `high`; None when not known
    tail: bytes | None = None  # the last bytes before `cursor`, compared before reading on
    scanned: int = 0  # no line end between `cursor` and here
    end: int | None = None  # nothing is read beyond it any more
    left_home_s: float | None = None  # monotonic; None while it is at `home`
    settled: bool = False  # away from home, and has not grown for `rotate_wait`
    followed_s: float | None = None  # monotonic; when it was seen that its successor has content
    ceded: int | None = None  # read up to here, its successor may be read although it is not over
    reported: bool = False  # StreamFound was queued
    finished: bool = False  # StreamFinished was queued
    told: bool = False  # StreamFinished was handed out
    stalled: bool = False  # reading failed: tried again with the next full scan
    missed_s: float | None = None  # when it was found, of one that was never seen at its home
    encoded: tuple[Any, Raw] | None = None  # as it was saved last
    gone: bool = False  # its bytes don't exist any more
    held: bool = False  # its last event may go on: waits for more, or for the time to be over
    flush: bool = False  # that event is over, as far as this file goes
    spliced: tuple[int, int] | None = None  # its end, when its last event has so many bytes of its successor
    pred: Stream | None = None
    succ: list[Stream] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return self.dev, self.ino

    @property
    def has_data(self) -> bool:
        """Whether reading may yield something now (order aside)."""
        if self.cursor is None or self.stalled or self.held:
            return False
        if self.end is not None:
            return self.cursor < self.end
        return self.size > self.cursor and (self.size > self.scanned or self.flush)

    @property
    def passed(self) -> bool:
        """Whether its successor at the same path may be read."""
        if self.end is not None:
            return self.cursor is not None and self.cursor >= self.end
        if self.left_home_s is None:  # came back: it goes on beside its former successor
            return True
        if self.ceded is not None and self.cursor is not None and self.cursor >= self.ceded:
            return True
        # One that is still at a watched path may keep a line without an end; any other gets its end first.
        at_rest = self.settled and self.cursor is not None and not self.held and not self.has_data
        return bool(self.at) and at_rest

    @property
    def is_read_whole(self) -> bool:
        """Whether everything that exists was read, and ends with a line end."""
        return self.cursor == self.size and (self.tail or b"").endswith(b"\n")

    @property
    def blocked(self) -> bool:
        """Whether a predecessor must be read first."""
        before = self.pred
        while before is not None:
            if not before.passed:
                return True
            before = before.pred
        return False

    @property
    def unread_bytes(self) -> int:
        """Bytes that exist and were not read. A line that was seen to have no end yet is no event."""
        end = self.size if self.end is None else self.end
        return max(0, end - (self.start if self.cursor is None else max(self.cursor, self.scanned)))

    def place(self, position: int, tail: bytes) -> None:
        """Read from `position` next; `tail` is what precedes it."""
        self.cursor = position
        self.scanned = position
        self.held = self.flush = False
        self.tail = tail
        if position >= self.high:
            self.high = position
            self.high_tail = tail or None
        self.size = max(self.size, position)

    def current_mark(self) -> Mark | None:
        """What is before the furthest position read, for the state file."""
        if self.high_tail is None:
            return self.mark
        return Mark(self.high, digest(self.high_tail))
