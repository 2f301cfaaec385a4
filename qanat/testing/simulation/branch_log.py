"""The log that a fan-out's branches are fed from, on its owner's disk; an adopter may have a way to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from qanat.batch import Batch, PayloadForm
from qanat.delivery.fan_out_token import LogPlace, Token
from qanat.errors import CorruptError, RetryableError
from qanat.testing.simulation.disk import Disk

LOG_EVENTS_MAX = 120  # committed, a few transactions: full when a branch is away for long; a gap counts as much as its events


class BranchLog:
    """One process's view. Offsets count events."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.place = LogPlace("", disk.name, disk.name)
        self.end = 0

    def open(self, end: int) -> None:
        """Go on behind what is committed."""
        self.disk.maybe_fail("open")
        if self.disk.length < end:
            self.disk.kernel.fail(
                f"{self.disk.name} has {self.disk.length}, less than the {end} of its record"
            )
        self.disk.truncate(end)
        self.disk.content.synced = self.end = end

    def attached(self, committed: Token) -> BranchLog | None:
        """For who only reads it: None where it is not reached."""
        if not self.disk.is_shared or not committed.log.path:
            return None
        if self.disk.length < committed.end:
            self.disk.kernel.fail(f"{self.disk.name} has lost what is committed up to {committed.end}")
        return self

    def set_aside(self) -> None:
        """Nothing of it is known to be committed, and `open` cuts it."""

    def append(self, batch: Batch) -> None:
        """Behind the end, if there is room."""
        disk = self.disk
        if disk.is_full or disk.is_away:
            raise RetryableError("the log's disk is full")
        if disk.committed - disk.released > LOG_EVENTS_MAX:
            raise RetryableError("the log is full: a branch does not take its events")
        disk.add(batch.stream, batch.start, batch.end, is_gap=not batch.count)
        self.end = disk.length

    def cut(self) -> Callable[[], None]:
        """Makes durable what there is now, and not a byte more."""
        end = self.end

        def sync() -> None:
            self.disk.maybe_fail("sync")
            content = self.disk.content
            content.synced = max(content.synced, min(end, content.length))

        return sync

    def read(self, at: int, end: int) -> Iterator[tuple[Batch, int]]:
        """Batches and where they end. What is forgotten only a process asks for that has slept over another one's commit:
        `release` sees to the rest."""
        if at < self.disk.released:
            raise CorruptError(f"{self.disk.name} begins at {self.disk.released}, and is read at {at}")
        for row in [row for row in self.disk.batches if at < row.at <= end]:
            count = 0 if row.is_gap else row.end - row.start
            yield Batch(row.stream, row.start, row.end, count, PayloadForm.LINES, b"", 0, {}), row.at

    def release(self, before: int) -> None:
        """Forgotten, for who reads; the ledger still looks at it."""
        slowest = min(branch.mark_at for branch in self.disk.branches)
        if before > slowest:
            self.disk.kernel.fail(f"{self.disk.name} is forgotten to {before}, a branch is at {slowest}")
        self.disk.released = max(self.disk.released, before)
