"""Who runs a fan-out's branch that nobody waits for: its real life, with a model disk, in the place of a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qanat.batch import Batch
from qanat.component import Prepared
from qanat.delivery import fan_out_sink
from qanat.delivery.branch_life import BranchLife, Step, open_sink, take
from qanat.delivery.fan_out import Mark, Todo
from qanat.errors import FencedError, QanatError, RetryableError
from qanat.testing.simulation.branch_log import BranchLog

if TYPE_CHECKING:
    from qanat.testing.simulation.collector import Collector

TAKE_EVENTS_MAX = 20  # so that catching up takes several marks
RETRY_S = (0.05, 0.3)  # between attempts at a disk in trouble: about a commit interval


class Branch:
    """One process's runner of the branch; its disk outlives it. `log` is None where it can't be reached."""

    def __init__(
        self, collector: Collector, branch: fan_out_sink.Branch, log: BranchLog | None, *, is_claimed: bool
    ) -> None:
        self._collector = collector
        self._name = branch.name
        self._sink = branch.sink
        self._log = log
        self._life = BranchLife(branch.name, has_log=log is not None, is_claimed=is_claimed)
        self._is_busy = False  # a step is under way, or about to be
        self._is_syncing = False

    @property
    def mark(self) -> Mark:
        """What the node's next commit record says of it."""
        return self._life.mark

    @property
    def must_reread(self) -> bool:
        """Nothing may be committed before the record is read again."""
        return self._life.must_reread

    @property
    def left_bytes(self) -> int:
        """What it has to take."""
        return self._life.left_bytes

    def claim(self, *, by_force: bool) -> None:
        """Begin a new life. While its sink is used, it can't be claimed for some time; that is tried again."""
        self._life.begins()
        try:
            if self._is_syncing:
                raise RetryableError("the sink does not answer")
            self._sink.claim(by_force=by_force)
        except RetryableError:
            if by_force:
                raise
            return
        self._life.claimed()

    def recorded(self, mark: Mark, end: int, *, reread: bool = False) -> None:
        """The commit record says this, and this of the log."""
        self._life.recorded(mark, end, reread=reread)
        self._go_on()

    def drain(self) -> None:
        """The end is near."""
        self._life.draining = True
        self._go_on()

    def _go_on(self) -> None:
        if not self._is_busy and self._next() is not None:
            self._is_busy = True
            self._collector.soon(self._delay_s(), self._step)

    def _next(self) -> Step | None:
        """Nothing is taken where there is nothing, but once at the end."""
        step = self._life.next()
        if step is None or step.todo is not Todo.TAKE or step.committed.at < step.goal:
            return step
        return step if step.draining and not self._life.drained else None

    def _rest(self) -> None:
        self._is_busy = False
        self._go_on()

    def _delay_s(self) -> float:
        kernel = self._collector.kernel
        slow = kernel.chance(self._collector.p_slow_branch)
        return kernel.between(0.3, 1.5) if slow else kernel.between(0.002, 0.05)

    def _step(self) -> None:
        step = self._next()
        if step is None:
            self._rest()
            return
        try:
            prepared, mark = self._begin(step)
        except QanatError as error:
            self._failed(step, error)
            return
        if prepared is None:
            self._done(step, mark)
        else:
            self._is_syncing = True
            self._collector.soon(self._delay_s(), self._sync, step, prepared, mark)

    def _begin(self, step: Step) -> tuple[Prepared | None, Mark]:
        if step.todo is Todo.CLAIM:
            self._sink.claim()
        elif step.todo is Todo.OPEN:
            open_sink(step, self._sink)
        elif step.todo is Todo.PUBLISH:
            assert step.committed.token is not None
            self._sink.publish(step.committed.token)
        else:
            assert self._log is not None or step.committed.at == step.goal
            read = self._log.read if self._log is not None else _nothing
            return take(
                step,
                self._sink,
                read,
                bytes_max=TAKE_EVENTS_MAX,
                refused=self._refused,
                is_over=lambda: False,
            )
        return None, step.committed

    def _refused(self, batch: Batch, reason: str) -> None:
        self._collector.kernel.fail(f"branch {self._name} refuses {batch} for good: {reason}")

    def _sync(self, step: Step, prepared: Prepared, mark: Mark) -> None:
        """The end of what `take` began; the process may have died between, and the record moved on."""
        self._is_syncing = False
        try:
            prepared.sync()
        except RetryableError as error:
            self._failed(step, error)
            return
        self._done(step, mark)

    def _done(self, step: Step, mark: Mark) -> None:
        self._life.done(step, mark)
        self._life.attempt = 0
        self._rest()

    def _failed(self, step: Step, error: Exception) -> None:
        kernel = self._collector.kernel
        kernel.note(self._collector.name, f"branch {self._name} in trouble: {error}")
        self._life.failed(step, is_taken=isinstance(error, FencedError))
        self._collector.soon(kernel.between(*RETRY_S), self._rest)


def _nothing(at: int, end: int) -> list[tuple[Batch, int]]:
    return []
