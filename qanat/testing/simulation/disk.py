"""A two-phase sink on a disk that loses what was not synced, tears what survives, and fills up."""

from __future__ import annotations

from dataclasses import dataclass

from qanat.errors import RetryableError
from qanat.testing.simulation.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Stored:
    """One batch on the disk; `at` is the length of the file after it."""

    at: int
    stream: str
    start: int
    end: int
    is_gap: bool = False  # its events are gone


class Disk:
    """One sink's file, as long as the events in it; it outlives its process.

    `length`: written; `synced`: of that, what survives a power cut; `published`: what readers see. A token is a length.
    """

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.batches: list[Stored] = []
        self.length = 0
        self.synced = 0
        self.published = 0
        self.committed = 0  # by the ledger: what a commit record in the store vouches for
        self.is_full = False
        self.is_broken = False  # an append failed: nothing is taken before a discard
        self.fail_next: dict[str, int] = {}

    def append(self, stream: str, start: int, end: int, *, is_gap: bool = False) -> str | None:
        """None, or why not; after a failure everything is refused (the shell's duty to the receiver core)."""
        if self.is_full and not self.is_broken:
            self.is_broken = True
        if self.is_broken:
            return "the disk is full"
        self.length += end - start
        self.batches.append(Stored(self.length, stream, start, end, is_gap))
        return None

    def prepare(self) -> bytes:
        """The token of all that was appended."""
        if self.is_broken:
            raise RetryableError("an append failed, discard first")
        self._maybe_fail("prepare")
        return b"%d" % self.length

    def sync(self, length: int) -> None:
        """Make this much durable, and not a byte more."""
        self._maybe_fail("sync")
        self.synced = max(self.synced, min(length, self.length))

    def publish(self, token: bytes) -> None:
        """Make it visible."""
        self._maybe_fail("publish")
        if int(token) > self.committed:
            self.kernel.fail(f"{self.name} publishes {int(token)}, committed is {self.committed}")
        self.published = max(self.published, int(token))

    def discard(self, token: bytes | None) -> None:
        """Undo what is beyond the token."""
        self._maybe_fail("discard")
        self._return_to(token)

    def claim(self) -> None:
        """One process at a time has it: the directory is locked."""

    def open(self, token: bytes | None) -> None:
        """Recover."""
        self._maybe_fail("open")
        self._return_to(token)

    def lose_power(self) -> None:
        """Some of what was not synced survives, the last of it torn."""
        self.truncate(self.kernel.random.randint(self.synced, self.length))

    def truncate(self, length: int) -> None:
        """Cut the file; whatever record is committed must still be covered."""
        if length < self.committed:
            self.kernel.fail(f"{self.name} loses committed data: cut to {length}, committed {self.committed}")
        while self.batches and self.batches[-1].at > length:
            last = self.batches.pop()
            missing = last.at - length
            if missing < last.end - last.start:  # torn
                self.batches.append(Stored(length, last.stream, last.start, last.end - missing, last.is_gap))
        self.length = length
        self.synced = min(self.synced, length)

    def heal(self) -> None:
        """No more trouble."""
        self.is_full = False
        self.fail_next.clear()

    def _return_to(self, token: bytes | None) -> None:
        length = 0 if token is None else int(token)
        if length > self.length:
            self.kernel.fail(f"{self.name} has {self.length}, less than the {length} of its record")
        self.truncate(length)
        self.synced = length
        self.is_broken = False

    def _maybe_fail(self, operation: str) -> None:
        left = self.fail_next.get(operation, 0)
        if left:
            self.fail_next[operation] = left - 1
            self.kernel.fault(f"{operation}_failure", self.name)
            raise RetryableError(f"{operation} failed on purpose")
