"""A sink made of sinks: who is written to directly, who is fed from a log, and what the commit record says of all of them [pure].

Sinks, log and what runs the branches that are fed are handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from qanat.batch import Batch
from qanat.component import Prepared, Sink
from qanat.delivery import fan_out_token as tokens
from qanat.delivery.fan_out import Mark
from qanat.delivery.fan_out_token import LogPlace, Token
from qanat.errors import PermanentError, RetryableError


@dataclass(frozen=True, slots=True)
class Branch:
    """One sink of a fan-out. `name` tells it from the others, over restarts."""

    name: str
    sink: Sink
    required: bool = False


class Log(Protocol):
    """What branches are fed from; offsets count all that was ever written. See `collector.fan_out.log`."""

    end: int
    place: LogPlace

    def open(self, end: int) -> None:
        """Go on behind `end`, which is committed."""

    def set_aside(self) -> None:
        """Nothing is known to be committed: what there is belongs to nobody, and is kept."""

    def append(self, batch: Batch) -> None:
        """Behind the end."""

    def cut(self) -> Callable[[], None]:
        """What makes durable all that was appended so far."""

    def release(self, before: int) -> None:
        """Every branch has what is before this."""


class Runner(Protocol):
    """Whoever lives the life of a branch that is fed. See `branch_life`."""

    @property
    def mark(self) -> Mark:
        """What the next commit record says of it."""

    @property
    def must_reread(self) -> bool:
        """Nothing may be committed before the record is read again."""

    @property
    def left_bytes(self) -> int:
        """What it has to take."""

    def claim(self, *, by_force: bool) -> None:
        """Begin a new life."""

    def recorded(self, mark: Mark, end: int, *, reread: bool = False) -> None:
        """The record says this."""

    def drain(self) -> None:
        """The end is near."""


@dataclass(frozen=True, slots=True)
class Around:
    """What a fan-out asks for. `reached`: the log of a dead sink, where it can be read from here. `feed`: a runner of this
    branch, whose storage is claimed or not. `refused`: an event that a branch will never take."""

    log: Log
    reached: Callable[[Token], Log | None]
    feed: Callable[[Branch, Log | None, bool], Runner]
    refused: Callable[[str, Batch, str], None]


class FanOutCore:
    """*Thread*: the sink's; `publish` also the one that syncs."""

    def __init__(self, branches: Sequence[Branch], around: Around) -> None:
        self.committed = tokens.decode(None, "")
        self.fed: dict[str, Runner] = {}
        self.direct: dict[str, Sink] = {}
        self.adopts = False  # the sink of a dead collector, whose log is read and not written
        self.left_out: set[str] = set()  # branches that the record knows, and nobody else
        self._branches = list(branches)
        self._around = around
        self._log = around.log
        self._reached: Log | None = around.log
        self._late: set[str] = set()  # of the branches, whose storage was away when it was claimed
        self._events = 0

    def decoded(self, token: bytes | None) -> Token:
        """What a commit record says. Raises CorruptError."""
        return tokens.decode(token, self._branches[0].name if self._branches else "")

    # Recovery.

    def claim(self, *, by_force: bool = False) -> None:
        """See Sink.claim."""
        self.adopts = by_force
        for branch in self._branches:
            if branch.name not in self.fed:
                self._claim_direct(branch, by_force)
        for runner in self.fed.values():
            runner.claim(by_force=by_force)

    def _claim_direct(self, branch: Branch, by_force: bool) -> None:
        """Before the record is read nobody knows how a branch is fed. One that need not be waited for is fed from the log
        if its storage is away now."""
        self._late.discard(branch.name)
        try:
            branch.sink.claim(by_force=by_force)
        except RetryableError:
            if by_force or branch.required:
                raise
            self._late.add(branch.name)

    def open(self, token: bytes | None) -> None:
        """See Sink.open."""
        committed = self.decoded(token)
        if self.adopts:
            self._branches = [each for each in self._branches if each.name in committed.names]
            self._reached = self._around.reached(committed)
        else:
            self._reached = self._log
            if token is None:
                self._log.set_aside()
            self._log.open(committed.end)
        self._events = committed.events
        self._assign(committed)
        for name, sink in self.direct.items():
            sink.open(committed.of(name))
        self._recorded(committed, reread=True)

    def discard(self, token: bytes | None) -> None:
        """See Sink.discard. Of what branches are fed nothing is undone: it was committed."""
        committed = self.decoded(token)
        if not self.adopts:
            self._log.open(committed.end)
        self._events = committed.events
        for name, sink in self.direct.items():
            sink.discard(committed.of(name))
        self._recorded(committed, reread=True)

    def _assign(self, committed: Token) -> None:
        """Who is written to directly: the required, once they have taken what the log still has for them."""
        for branch in self._branches:
            mark = committed.marks.get(branch.name)
            if branch.name in self.fed:
                continue
            if branch.required and (mark is None or mark.at >= committed.end):
                self.direct[branch.name] = branch.sink
            else:
                is_claimed = branch.name not in self._late
                self.fed[branch.name] = self._around.feed(branch, self._reached, is_claimed)
        self.left_out = committed.names - {branch.name for branch in self._branches}

    def _recorded(self, committed: Token, *, reread: bool = False) -> None:
        """Tell the branches that are fed what the record says. A new one begins at the end."""
        self.committed = committed
        for name, runner in self.fed.items():
            new = Mark(committed.direct.get(name), committed.end, committed.events)
            runner.recorded(committed.marks.get(name, new), committed.end, reread=reread)

    # Transactions.

    def append(self, batch: Batch) -> None:
        """See Sink.append."""
        for name, sink in self.direct.items():
            try:
                sink.append(batch)
            except PermanentError as error:
                self._around.refused(name, batch, str(error))
        if self.fed:
            self._log.append(batch)
            self._events += batch.count

    def check(self) -> None:
        """Raises RetryableError when nothing may be committed before the record is read again."""
        late = [name for name, runner in self.fed.items() if runner.must_reread]
        if late:
            raise RetryableError(f"the storage of branch {', '.join(late)} is back: the record is read again")

    def prepare(self) -> Prepared:
        """See Sink.prepare."""
        self.check()
        prepared = {name: sink.prepare() for name, sink in self.direct.items()}
        token = Token(
            tokens.MAGIC,
            tokens.VERSION,
            {name: each.token for name, each in prepared.items()},
            {name: runner.mark for name, runner in self.fed.items()},
            self.committed.end if self.adopts else self._log.end,
            self._events,
            self.committed.log if self.adopts else self._log.place,
        )
        syncs: list[Callable[[], None]] = [each.sync for each in prepared.values()]
        if self.fed and not self.adopts:
            syncs.append(self._log.cut())
        return Prepared(tokens.encode(token), lambda: _sync(syncs))

    def publish(self, token: bytes) -> None:
        """See Sink.publish."""
        committed = self.decoded(token)
        self._recorded(committed)
        for name, sink in self.direct.items():
            direct = committed.of(name)
            if direct is not None:
                sink.publish(direct)
        if self._reached is not None:
            self._reached.release(committed.slowest)

    def backlog_bytes(self) -> int:
        """See Sink.backlog_bytes."""
        return max((runner.left_bytes for runner in self.fed.values()), default=0)

    def drain(self) -> None:
        """See Sink.drain."""
        for sink in self.direct.values():
            sink.drain()
        for runner in self.fed.values():
            runner.drain()


def _sync(syncs: Sequence[Callable[[], None]]) -> None:
    for sync in syncs:
        sync()
