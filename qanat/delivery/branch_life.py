"""A process's life with one branch of a fan-out that nobody waits for: what is done next, and what came of it [pure].

Storage has to be claimed before the record is read that says what to make of it (rule 4, `Sink.claim`). A branch whose storage
is away then must not hold up the others, so it claims later; and then everybody has to read the record once more
(`must_reread`), before this branch touches anything.

Who runs a branch asks for its `next` step, does it, and says that it is `done`, or has `failed`. Meanwhile the record may have
moved on, or a new life begun; what came of the step is then nobody's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from qanat.batch import Batch
from qanat.component import Prepared, Sink
from qanat.delivery.fan_out import BranchCore, Mark, Todo
from qanat.errors import PermanentError, RetryableError


@dataclass(frozen=True, slots=True)
class Step:
    """What to do, as things were when it was asked for. `goal`: up to where in the log there is something to take."""

    core: BranchCore
    todo: Todo
    committed: Mark
    goal: int
    draining: bool
    was_open: bool  # since storage was claimed


@dataclass(slots=True)
class BranchLife:
    """`has_log`: the log can be read; else the branch finishes what it has taken, and takes nothing. `attempt`: failures in a
    row."""

    name: str
    has_log: bool = True
    is_claimed: bool = True
    must_reread: bool = False  # nothing may be committed before the record is read again
    draining: bool = False  # whatever is taken is finished and published with the next mark
    drained: bool = False  # the sink was drained behind the last mark
    attempt: int = 0
    was_open: bool = False  # since storage was claimed
    core: BranchCore | None = None

    @property
    def mark(self) -> Mark:
        """What the next commit record says. Raises RetryableError before there is a record to go by."""
        if self.core is None:
            raise RetryableError(f"branch {self.name} has begun a new life")
        return self.core.mark

    @property
    def is_in_trouble(self) -> bool:
        """Its storage can't be reached, or has refused what was done last."""
        return self.attempt > 0 or not self.is_claimed

    @property
    def left_bytes(self) -> int:
        """What is committed in the log and not in this branch, and not 0 before what it has is visible; nothing is left that
        can't be reached."""
        core = self.core
        if core is None:
            return 0
        is_hidden = core.committed.token is not None and not core.is_published
        return max(int(is_hidden), self.goal(core.committed) - core.committed.at)

    @property
    def has_drained(self) -> bool:
        """All that is committed was taken and is visible, a mark waits for its record, or the branch is in trouble."""
        core = self.core
        if core is None or core.staged is not None or self.attempt:
            return True
        return self.drained and self.left_bytes == 0

    def goal(self, committed: Mark) -> int:
        """How far there is something to take."""
        return self.core.end if self.has_log and self.core is not None else committed.at

    def begins(self) -> None:
        """A new life: nothing is done before the next `recorded`, or before storage is claimed."""
        self.core = None
        self.is_claimed = self.must_reread = False

    def claimed(self, *, late: bool = False) -> None:
        """Storage is ours; `late`: the record that we know may be older than that."""
        self.is_claimed, self.was_open = True, False
        self.must_reread = self.must_reread or late

    def recorded(self, mark: Mark, end: int, *, reread: bool = False) -> None:
        """The commit record says this. `reread`: it was read just now."""
        self.must_reread = self.must_reread and not reread
        if self.core is None:
            self.core = BranchCore(mark, end)
        else:
            self.core.recorded(mark, end)

    def next(self) -> Step | None:
        """What to do now; None: wait for `recorded`."""
        core = self.core
        if core is None:
            return None
        if not self.is_claimed:
            todo = Todo.CLAIM
        elif self.must_reread or core.todo is Todo.WAIT:
            return None
        else:
            todo = core.todo
        return Step(core, todo, core.committed, self.goal(core.committed), self.draining, self.was_open)

    def done(self, step: Step, mark: Mark) -> None:
        """`mark`: what was taken and is durable; else what was committed when the step began."""
        core = step.core
        if step.todo is Todo.OPEN and core is self.core:
            self.was_open = True
        if step.todo is Todo.CLAIM:
            self.claimed(late=True)
        elif core is not self.core or core.committed != step.committed:
            return  # the record has moved on meanwhile
        elif step.todo is Todo.OPEN:
            core.opened()
        elif step.todo is Todo.PUBLISH:
            core.published()
        elif core.is_open:
            core.took(mark)
            self.drained = step.draining and mark.at >= self.goal(mark)

    def failed(self, step: Step, *, is_taken: bool = False) -> None:
        """The sink is in an unknown state: it has to be opened again, from what is committed. If storage is another's now
        (`is_taken`), or may be, because it could not even be opened, it is claimed again first, and the record read. Who takes
        storage has moved the fence before: that reading is how an idle node finds it out, and claims everything anew."""
        self.attempt += 1
        if step.core is self.core and step.core.staged is None:
            step.core.failed()
            if is_taken or (step.todo is Todo.OPEN and not step.was_open):
                self.is_claimed = False


def open_sink(step: Step, sink: Sink) -> None:
    """Make it what the committed mark says. Raises FencedError when storage is another's, and was open here before."""
    if step.was_open:
        sink.discard(step.committed.token)
    else:
        sink.open(step.committed.token)


def take(
    step: Step,
    sink: Sink,
    read: Callable[[int, int], Iterable[tuple[Batch, int]]],
    *,
    bytes_max: int,
    refused: Callable[[Batch, str], None],
    is_over: Callable[[], bool],
) -> tuple[Prepared | None, Mark]:
    """From the log, in which `read` gives batches and where they end, into the branch's sink: the mark of it, true as soon as
    what was prepared is synced. None: there was nothing to take or to roll."""
    at, events = step.committed.at, step.committed.events
    most = at + bytes_max
    while at < min(step.goal, most) and not is_over():
        for batch, behind in read(at, step.goal):
            try:
                sink.append(batch)
            except PermanentError as error:
                refused(batch, str(error))
            at, events = behind, events + batch.count
            if at >= most or sink.pause_s() > 0:
                break
        if sink.pause_s() > 0:
            break
    if step.draining and at >= step.goal:
        sink.drain()
    prepared = sink.prepare()
    if prepared.token == step.committed.token and at == step.committed.at:
        return None, step.committed
    return prepared, Mark(prepared.token, at, events)
