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
RETRY_S = (0.05, 0.3)  # between attempts at a disk in trouble: about a commit interval


class Branch:
    """One process's runner of the branch; `disk` outlives it."""

    def __init__(self, collector: Collector, log: Disk, disk: Disk) -> None:
        self._collector = collector
        self._log = log
        self._disk = disk
        self.tenant = Tenant(disk)
        self._core: BranchCore | None = None
        self._is_busy = False

    @property
    def mark(self) -> Mark:
        """What the node's next commit record says of it."""
        assert self._core is not None, "prepared before it was opened"
        return self._core.mark

    def recorded(self, mark: Mark, token: bytes | None) -> None:
        """The commit record says this, and this of the node."""
        if self._core is None:
            self._core = BranchCore(mark, length_of(token))
        else:
            self._core.recorded(mark, length_of(token))
        self._go_on(self._core)

    def _go_on(self, core: BranchCore) -> None:
        if not self._is_busy and not core.is_idle and core.todo is not Todo.WAIT:
            self._is_busy = True
            self._soon(self._step, core)

    def _rest(self, core: BranchCore) -> None:
        self._is_busy = False
        self._go_on(core)

    def _soon(self, step: Callable[..., None], *args: object) -> None:
        kernel = self._collector.kernel
        slow = kernel.chance(self._collector.p_slow_branch)
        self._collector.soon(kernel.between(0.3, 1.5) if slow else kernel.between(0.002, 0.05), step, *args)

    def _step(self, core: BranchCore) -> None:
        try:
            is_taking = self._do(core)
        except RetryableError as error:
            self._failed(core, error)
            return
        if not is_taking:
            self._rest(core)

    def _failed(self, core: BranchCore, error: RetryableError) -> None:
        kernel = self._collector.kernel
        kernel.note(self._disk.name, f"branch in trouble: {error}")
        if core.staged is None:
            core.failed()
        self._collector.soon(kernel.between(*RETRY_S), self._rest, core)

    def _do(self, core: BranchCore) -> bool:
        """Gives True when it goes on in `_synced`."""
        match core.todo:
            case Todo.OPEN:
                self.tenant.claim()
                self.tenant.open(core.committed.token)
                core.opened()
            case Todo.PUBLISH:
                assert core.committed.token is not None
                self.tenant.publish(core.committed.token)
                core.published()
            case Todo.TAKE if not core.is_idle:
                self._take(core)
                return True
            case _:
                pass
        return False

    def _take(self, core: BranchCore) -> None:
        at = core.committed.at
        rows = [row for row in self._log.batches if at < row.at <= core.end][:TAKE_BATCHES_MAX]
        for row in rows:
            if self.tenant.append(row.stream, row.start, row.end, is_gap=row.is_gap) is not None:
                raise RetryableError("the branch's disk is full")
            at = row.at
        token = self.tenant.prepare(drain=False)
        self._soon(self._synced, core, core.committed, Mark(token, at))

    def _synced(self, core: BranchCore, committed: Mark, mark: Mark) -> None:
        """The end of what `_take` began; the process may have died between."""
        if core.committed == committed and core.is_open and core.staged is None:
            try:
                self.tenant.sync(length_of(mark.token))
            except RetryableError as error:
                self._failed(core, error)
                return
            core.took(mark)
        self._rest(core)
