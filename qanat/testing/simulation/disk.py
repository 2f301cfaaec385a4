"""A two-phase sink on a disk that loses what was not synced, tears what survives, and fills up; one process at a time has it,
and another may take it by force, from one that only sleeps."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from qanat.errors import FencedError, RetryableError
from qanat.testing.simulation.kernel import Kernel


class Stored(msgspec.Struct, frozen=True):
    """One batch on the disk; `at` is the length of the file after it."""

    at: int
    stream: str
    start: int
    end: int
    is_gap: bool = False  # its events are gone


@dataclass(slots=True)
class Content:
    """One file, as long as the events in it. `synced`: of its `length`, what survives a power cut. `finished`: never to change.

    Whoever has it open can write to it, whether or not it still has the sink's name.
    """

    batches: list[Stored] = field(default_factory=list)
    length: int = 0
    synced: int = 0
    finished: bool = False

    def add(self, stream: str, start: int, end: int, *, is_gap: bool) -> None:
        """At the end."""
        self.length += end - start
        self.batches.append(Stored(self.length, stream, start, end, is_gap))

    def cut(self, length: int) -> None:
        """To this length; the last batch may be torn."""
        while self.batches and self.batches[-1].at > length:
            last = self.batches.pop()
            missing = last.at - length
            if missing < last.end - last.start:
                self.batches.append(Stored(length, last.stream, last.start, last.end - missing, last.is_gap))
        self.length = length
        self.synced = min(self.synced, length)

    def copy(self, length: int) -> Content:
        """Its beginning in a new file, durable."""
        made = Content(list(self.batches), self.length, length)
        made.cut(length)
        return made


class Disk:
    """What outlives the processes of one sink. `content`: the file that has the sink's name; `published`: what readers see."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.content = Content()
        self.tenant: Tenant | None = None
        self.is_uncopied = False  # somebody who may live has the file open
        self.published = 0
        self.committed = 0  # by the ledger: what a commit record in the store vouches for
        self.is_full = False
        self.fail_next: dict[str, int] = {}
        self.is_away = False  # nothing works
        self.branches: list[Disk] = []  # of a fan-out, of which this one has the log
        self.is_required = False  # of a branch: written to directly
        self.mark_at = 0  # of a branch: how far of the log it has, by the ledger
        self.is_shared = False  # of a log: adopters reach it
        self.released = 0  # of a log: what is before this is forgotten

    @property
    def is_fan_out(self) -> bool:
        """There are branches."""
        return bool(self.branches)

    @property
    def batches(self) -> list[Stored]:
        """What is in the file."""
        return self.content.batches

    @property
    def length(self) -> int:
        """Of the file."""
        return self.content.length

    @property
    def synced(self) -> int:
        """Of that, what survives a power cut."""
        return self.content.synced

    def add(self, stream: str, start: int, end: int, *, is_gap: bool) -> None:
        """At the end of the file."""
        self.content.add(stream, start, end, is_gap=is_gap)

    def lose_power(self) -> None:
        """Some of what was not synced survives, the last of it torn."""
        self.truncate(self.kernel.random.randint(self.synced, self.length))

    def truncate(self, length: int) -> None:
        """Cut the file; whatever record is committed must still be covered."""
        if length < self.committed:
            self.kernel.fail(f"{self.name} loses committed data: cut to {length}, committed {self.committed}")
        self.content.cut(length)

    def heal(self) -> None:
        """No more trouble."""
        self.is_full = self.is_away = False
        self.fail_next.clear()

    def maybe_fail(self, operation: str) -> None:
        """Raises RetryableError when it is this operation's turn."""
        if self.is_away:
            raise RetryableError(f"{operation} failed: the disk is away")
        left = self.fail_next.get(operation, 0)
        if left:
            self.fail_next[operation] = left - 1
            self.kernel.fault(f"{operation}_failure", self.name)
            raise RetryableError(f"{operation} failed on purpose")


class Tenant:
    """One process's hold of a sink's disk. A token is a length."""

    def __init__(self, disk: Disk, *, by_force: bool = False) -> None:
        self.disk = disk
        self.alive = True
        self._by_force = by_force
        self._content = Content()  # what it has open
        self.is_broken = False  # an append failed: nothing is taken before a discard
        self._is_draining = False

    def append(self, stream: str, start: int, end: int, *, is_gap: bool = False) -> str | None:
        """None, or why not; after a failure everything is refused (the shell's duty to the receiver core)."""
        self.is_broken |= self.disk.is_full or self.disk.is_away
        if self.is_broken:
            return "the disk is full"
        content = self._content
        if content.finished:
            self.disk.kernel.fail(f"{self.disk.name}: {stream} is appended to a file that readers have")
        content.add(stream, start, end, is_gap=is_gap)
        return None

    def renew(self) -> None:
        """Behind a finished file the next one begins."""
        if self._content.finished and not self.is_lost():
            self._content = self.disk.content = self._content.copy(self._content.length)

    def prepare(self, *, drain: bool) -> bytes:
        """The token of all that was appended."""
        if self.is_broken:
            raise RetryableError("an append failed, discard first")
        self.disk.maybe_fail("prepare")
        self._is_draining = drain
        return b"%d" % self._content.length

    def length_of(self, token: bytes) -> int:
        """What has to be synced for it."""
        return length_of(token)

    def backlog_bytes(self) -> int:
        """Nothing has to go on from here."""
        return 0

    def sync(self, length: int) -> None:
        """Make this much durable, and not a byte more."""
        self.disk.maybe_fail("sync")
        self._content.synced = max(self._content.synced, min(length, self._content.length))

    def publish(self, token: bytes) -> None:
        """Make it visible; after the last commit of a life, the file is finished."""
        self.is_broken |= self.is_lost()
        self._require()
        disk = self.disk
        disk.maybe_fail("publish")
        if length_of(token) > disk.committed:
            disk.kernel.fail(f"{disk.name} publishes {length_of(token)}, committed is {disk.committed}")
        disk.published = max(disk.published, length_of(token))
        if self._is_draining and length_of(token) == disk.length:
            disk.content.finished = True

    def discard(self, token: bytes | None) -> None:
        """Undo what is beyond the token."""
        if self.is_lost():
            raise FencedError("another process has the disk")
        self.disk.maybe_fail("discard")
        self._recover(token)

    def claim(self) -> None:
        """The disk is locked as long as its tenant lives, be it asleep."""
        other = self.disk.tenant
        if other is not None and other is not self and other.alive and not self._by_force:
            raise RetryableError("the disk is locked")
        self.disk.tenant = self
        self.disk.is_uncopied |= self._by_force

    def open(self, token: bytes | None) -> None:
        """Recover; in a copy if somebody else may write to the file."""
        self._require()
        self.disk.maybe_fail("open")
        self._recover(token)

    def _recover(self, token: bytes | None) -> None:
        if self.disk.is_uncopied or self.disk.content.finished:
            self._check(token)
            self.disk.content = self.disk.content.copy(length_of(token))
            self.disk.is_uncopied = False
        self._content = self.disk.content
        self._return_to(token)

    def ends(self, *, power: bool = False) -> None:
        """Its process does, perhaps with the machine: what of its writes the file has not synced is lost then."""
        self.alive = False
        if power and self._content is self.disk.content:
            self.disk.lose_power()

    def is_lost(self) -> bool:
        """Whether another process has claimed the disk."""
        return self.disk.tenant is not self

    def _require(self) -> None:
        if self.is_lost():
            raise RetryableError("another process has the disk")

    def _check(self, token: bytes | None) -> None:
        disk = self.disk
        if length_of(token) > disk.length:
            disk.kernel.fail(f"{disk.name} has {disk.length}, less than the {length_of(token)} of its record")
        if length_of(token) < disk.committed:
            disk.kernel.fail(f"{disk.name} is opened with {length_of(token)}, committed is {disk.committed}")

    def _return_to(self, token: bytes | None) -> None:
        self._check(token)
        self.disk.truncate(length_of(token))
        self.disk.content.synced = length_of(token)
        self.is_broken = False


def length_of(token: bytes | None) -> int:
    """How much of the file a token covers."""
    return 0 if token is None else int(token)
