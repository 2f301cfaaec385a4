"""A collector's fan-out: the real core over model disks. What `collector/fan_out` does with threads and files, here in virtual
time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qanat.batch import Batch, PayloadForm
from qanat.component import Context, Prepared, Sink
from qanat.delivery import fan_out_sink
from qanat.delivery.fan_out_sink import Around, FanOutCore
from qanat.delivery.fan_out_token import Token, decode
from qanat.errors import RetryableError
from qanat.testing.simulation.branch import Branch
from qanat.testing.simulation.branch_log import BranchLog
from qanat.testing.simulation.disk import Disk, Tenant, length_of

if TYPE_CHECKING:
    from qanat.testing.simulation.collector import Collector

CONTEXT = Context("", "", "", Path())  # of a sink that looks at nothing of it


def token_of(token: bytes | None) -> Token:
    """What a node's commit record says of its fan-out."""
    return decode(token, "0")


class ModelSink(Sink):
    """A branch's sink."""

    def __init__(self, disk: Disk, *, by_force: bool) -> None:
        super().__init__(None, CONTEXT)
        self.tenant = Tenant(disk, by_force=by_force)
        self._is_draining = False

    def claim(self, *, by_force: bool = False) -> None:
        """Not while its storage is away."""
        if self.tenant.disk.is_away:
            raise RetryableError("the disk is away")
        self.tenant.claim()

    def open(self, token: bytes | None) -> None:
        self.tenant.open(token)

    def append(self, batch: Batch) -> None:
        self.tenant.renew()
        reason = self.tenant.append(batch.stream, batch.start, batch.end, is_gap=not batch.count)
        if reason is not None:
            raise RetryableError(reason)

    def prepare(self) -> Prepared:
        token = self.tenant.prepare(drain=self._is_draining)
        return Prepared(token, lambda: self.tenant.sync(length_of(token)))

    def publish(self, token: bytes) -> None:
        self.tenant.publish(token)

    def discard(self, token: bytes | None) -> None:
        self.tenant.discard(token)

    def drain(self) -> None:
        self._is_draining = True

    def close(self) -> None:
        """Its process ends."""


class FanOut:
    """One process's hold of all these disks; its methods are a `Tenant`'s."""

    def __init__(self, collector: Collector, disk: Disk, *, by_force: bool) -> None:
        self._collector = collector
        self._by_force = by_force
        self._sinks = [ModelSink(each, by_force=by_force) for each in disk.branches]
        self._log = BranchLog(disk)
        self._prepared: Prepared | None = None
        self._is_broken = False  # an append failed: nothing is taken before a discard
        self._core = FanOutCore(
            [
                fan_out_sink.Branch(str(index), sink, sink.tenant.disk.is_required)
                for index, sink in enumerate(self._sinks)
            ],
            Around(self._log, reached=self._reached, feed=self._feed, refused=self._refused),
        )

    def _reached(self, committed: Token) -> BranchLog | None:
        return self._log.attached(committed)

    def _feed(self, branch: fan_out_sink.Branch, log: fan_out_sink.Log | None, is_claimed: bool) -> Branch:
        assert log is None or isinstance(log, BranchLog)
        return Branch(self._collector, branch, log, is_claimed=is_claimed)

    def _refused(self, name: str, batch: Batch, reason: str) -> None:
        self._collector.kernel.fail(f"branch {name} refuses {batch} for good: {reason}")

    def append(self, stream: str, start: int, end: int, *, is_gap: bool = False) -> str | None:
        """Whoever refuses it refuses for all: everybody takes the same, or the transaction is undone."""
        count = 0 if is_gap else end - start
        if not self._is_broken:
            try:
                self._core.append(Batch(stream, start, end, count, PayloadForm.LINES, b"", 0, {}))
            except RetryableError as error:
                self._is_broken = True
                return str(error)
        return "an append failed" if self._is_broken else None

    def prepare(self, *, drain: bool) -> bytes:
        """With what each branch that is fed has durable."""
        if self._is_broken:
            raise RetryableError("an append failed, discard first")
        if drain:
            self._core.drain()
        self._prepared = self._core.prepare()
        return self._prepared.token

    def length_of(self, token: bytes) -> int:
        """Of the log."""
        return token_of(token).end

    def sync(self, length: int) -> None:
        """What was prepared."""
        assert self._prepared is not None, "synced before it was prepared"
        self._prepared.sync()

    def publish(self, token: bytes) -> None:
        """See FanOutCore."""
        self._core.publish(token)

    def discard(self, token: bytes | None) -> None:
        """Undo what is beyond the token."""
        self._core.discard(token)
        self._is_broken = False

    def claim(self) -> None:
        """The log is nobody's but the owner's, and an adopter only reads it."""
        self._core.claim(by_force=self._by_force)

    def open(self, token: bytes | None) -> None:
        """Recover."""
        self._core.open(token)
        self._is_broken = False

    def backlog_bytes(self) -> int:
        """What branches still have to take."""
        return self._core.backlog_bytes()

    def ends(self, *, power: bool = False) -> None:
        """Its process does."""
        for sink in self._sinks:
            sink.tenant.ends(power=power)
        if power and not self._by_force:
            self._log.disk.lose_power()
