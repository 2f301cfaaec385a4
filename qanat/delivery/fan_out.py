"""One branch of a collector's fan-out that nobody waits for: its cursor in the log, and what it has to do next [pure].

The node's sink writes what it receives to a log, and the log's committed end is in the node's commit record. A branch takes
from the log, up to that end, into a sink of its own, and says how far it came and with which token (its *mark*). The
next commit of the node records the mark, and only then is it published. So a branch that is slow or fails holds up nobody, and
goes on exactly where the record says.

A mark that was offered to a commit must stay true until its outcome is known, so a branch with a staged mark does nothing
but wait. `recorded` is that outcome, whatever it is.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What a branch has stored: its sink's token, the place in the log up to which it covers it, in bytes, and how many events
    are before that place."""

    token: bytes | None
    at: int
    events: int = 0


class Todo(enum.Enum):
    """What a branch has to do next."""

    CLAIM = "claim"  # storage that was away when the others were claimed
    OPEN = "open"  # make its sink what the committed mark says
    PUBLISH = "publish"  # make the committed token visible
    TAKE = "take"  # take from the log, or look whether something has to be rolled; prepare and sync; then `staged`
    WAIT = "wait"  # for `recorded`


@dataclass(slots=True)
class BranchCore:
    """A branch's state. `end`: of what is committed in the log."""

    committed: Mark
    end: int
    staged: Mark | None = None
    is_open: bool = False
    is_published: bool = False

    @property
    def todo(self) -> Todo:
        """See `Todo`."""
        if self.staged is not None:
            return Todo.WAIT
        if not self.is_open:
            return Todo.OPEN
        return Todo.TAKE if self.is_published else Todo.PUBLISH

    @property
    def mark(self) -> Mark:
        """What the next commit record says of this branch."""
        return self.committed if self.staged is None else self.staged

    @property
    def is_idle(self) -> bool:
        """All that is committed in the log was taken, and recorded."""
        return self.todo is Todo.TAKE and self.committed.at >= self.end

    def opened(self) -> None:
        """The sink is what the committed mark says."""
        self.is_open = True
        self.is_published = self.committed.token is None

    def published(self) -> None:
        """What the committed mark says is visible."""
        self.is_published = True

    def took(self, mark: Mark) -> None:
        """The sink has this prepared and durable; the record doesn't know of it yet."""
        if not self.committed.at <= mark.at <= self.end:
            raise ValueError(
                f"a branch took up to {mark.at}, between {self.committed.at} and {self.end} it may"
            )
        if mark != self.committed:
            self.staged = mark

    def failed(self) -> None:
        """The sink is in an unknown state."""
        if self.staged is not None:
            raise ValueError("a branch with a staged mark has nothing to do that could fail")
        self.is_open = False

    def recorded(self, mark: Mark, end: int) -> None:
        """The node's commit record says this mark, and this end of the log."""
        self.end = end
        if mark == self.committed and self.staged is not None:
            return  # a transaction was undone: what is staged goes into the next
        if mark == self.staged:
            self.is_published = mark.token == self.committed.token and self.is_published
        elif mark != self.committed:  # somebody else's commit
            self.is_open = False
        self.staged = None
        self.committed = mark
