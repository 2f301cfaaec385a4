"""A fan-out's branch that nobody waits for: the real cursor between the node's log and a second sink."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qanat.delivery.fan_out import BranchCore, Mark, Todo
from qanat.errors import RetryableError
from qanat.testing.simulation.disk import Disk, Tenant, length_of

if TYPE_CHECKING:
    from qanat.testing.simulation.collector import Collector

TAKE_BATCHES_MAX = 5  # so that catching up takes several marks
IDLE_S = (0.03, 0.2)  # how often a branch that waits looks again, shorter than the time between two commits


def mark_of(token: bytes | None) -> Mark:
    """The branch's mark in a node's token."""
    if token is None:
        return Mark(None, 0)
    _, branch, at = token.split(b"|")
    return Mark(branch or None, int(at))


class Branch:
    """One process's runner of the branch; `disk` outlives it."""

    def __init__(self, collector: Collector, log: Disk, disk: Disk) -> None:
        self._collector = collector
        self._log = log
        self._disk = disk
        self.tenant = Tenant(disk)
        self._core: BranchCore | None = None
        self._is_taking = False

    def token(self, length: bytes) -> bytes:
        """The node's token with the branch's mark."""
        assert self._core is not None, "prepared before it was opened"
        mark = self._core.mark
        return b"%b|%b|%d" % (length, mark.token or b"", mark.at)

    def recorded(self, token: bytes | None) -> None:
        """The commit record says this."""
        end, mark = length_of(token), mark_of(token)
        if self._core is None:
            self._core = BranchCore(mark, end)
            self._soon(self._step)
        else:
            self._core.recorded(mark, end)

    def _soon(self, step: Callable[..., None], *args: object) -> None:
        kernel = self._collector.kernel
        slow = kernel.chance(self._collector.p_slow_branch)
        self._collector.soon(kernel.between(0.3, 1.5) if slow else kernel.between(0.002, 0.05), step, *args)

    def _step(self) -> None:
        core = self._core
        assert core is not None
        try:
            self._do(core)
        except RetryableError as error:
            self._collector.kernel.note(self._disk.name, f"branch in trouble: {error}")
            core.failed()
        if self._is_taking or core.todo is Todo.WAIT:
            self._collector.soon(self._collector.kernel.between(*IDLE_S), self._step)
        else:
            self._soon(self._step)

    def _do(self, core: BranchCore) -> None:
        match core.todo:
            case Todo.OPEN:
                self.tenant.claim()
                self.tenant.open(core.committed.token)
                core.opened()
            case Todo.PUBLISH:
                assert core.committed.token is not None
                self.tenant.publish(core.committed.token)
                core.published()
            case Todo.TAKE if not self._is_taking:
                self._take(core)
            case _:
                pass

    def _take(self, core: BranchCore) -> None:
        at = core.committed.at
        rows = [row for row in self._log.batches if at < row.at <= core.end][:TAKE_BATCHES_MAX]
        for row in rows:
            if self.tenant.append(row.stream, row.start, row.end, is_gap=row.is_gap) is not None:
                raise RetryableError("the branch's disk is full")
            at = row.at
        token = self.tenant.prepare(drain=False)
        self._is_taking = True
        self._soon(self._synced, core.committed, Mark(token, at))

    def _synced(self, committed: Mark, mark: Mark) -> None:
        """The end of what `_take` began; the process may have died between."""
        core = self._core
        assert core is not None
        self._is_taking = False
        if core.committed != committed or not core.is_open or core.staged is not None:
            return
        try:
            self.tenant.sync(int(mark.token or 0))
        except RetryableError:
            core.failed()
            return
        core.took(mark)
