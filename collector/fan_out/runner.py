"""The thread of one branch that nobody waits for: does what its life says, and tries again for ever when it can't."""

from __future__ import annotations

import threading

import structlog

from collector.dead_letters import DeadLetters
from collector.fan_out.log import BranchLog
from qanat.component import Sink
from qanat.delivery.branch_life import BranchLife, Step, open_sink, take
from qanat.delivery.fan_out import Mark, Todo
from qanat.errors import FencedError, QanatError, RetryableError
from qanat.limits import MIB
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

TAKE_BYTES = 16 * MIB  # as much as starts a commit: a mark as often as that while catching up
ROLL_S = 0.2  # with nothing to take, how often the sink may look whether a file has to be rolled: the commit interval
CLAIM_S_MAX = (
    5.0  # for the end of a call of the sink that is under way; one that hangs holds up only its own branch
)
RETRY_S_MAX = 60.0  # the longest pause between attempts at a sink that is away for hours


class BranchRunner:
    """Owns the branch's sink: its methods are called on this thread, but `claim`, which waits for the others to end.

    `log_` is None where it can't be reached: then the branch finishes what it has taken, and takes nothing."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        log_: BranchLog | None,
        dead_letters: DeadLetters,
        *,
        is_claimed: bool = True,
    ) -> None:
        self._name = name
        self._sink = sink
        self._log = log_
        self._dead_letters = dead_letters
        self._changed = threading.Condition()  # guards the life
        self._life = BranchLife(name, has_log=log_ is not None, is_claimed=is_claimed)
        self._stopping = False
        self._using = threading.Lock()  # held while the sink is used
        self._thread = threading.Thread(target=self._run, name=f"branch-{name}", daemon=True)

    @property
    def mark(self) -> Mark:
        """What the next commit record says."""
        with self._changed:
            return self._life.mark

    @property
    def must_reread(self) -> bool:
        """Storage was claimed after the record was read: nothing may be committed before it is read again."""
        with self._changed:
            return self._life.must_reread

    def is_in_trouble(self) -> bool:
        """Its storage can't be reached, or has refused what was done last."""
        with self._changed:
            return self._life.is_in_trouble

    @property
    def left_bytes(self) -> int:
        """What is committed in the log and not in this branch; nothing is left that can't be reached."""
        with self._changed:
            return self._life.left_bytes

    def claim(self, *, by_force: bool) -> None:
        """Begin a new life: nothing is done before the next `recorded`. Raises RetryableError if storage is taken by force, and
        can't be; else that is tried again on the thread. *Blocking*."""
        with self._changed:
            self._life.begins()
        try:
            if not self._using.acquire(timeout=CLAIM_S_MAX):
                raise RetryableError(f"the sink of branch {self._name} does not answer")
            try:
                self._sink.claim(by_force=by_force)
            finally:
                self._using.release()
        except RetryableError as error:
            if by_force:
                raise
            log.warning("branch_waits_for_storage", branch=self._name, reason=str(error))
            return
        with self._changed:
            self._life.claimed()

    def recorded(self, mark: Mark, end: int, *, reread: bool = False) -> None:
        """The commit record says this; begins, if this is the first time. `reread`: it was read just now."""
        with self._changed:
            is_new = self._life.core is None
            self._life.recorded(mark, end, reread=reread)
            if is_new and not self._thread.is_alive():
                self._thread.start()
            self._changed.notify_all()

    def drain(self) -> None:
        """From here on whatever is taken is finished and published with the next mark."""
        with self._changed:
            self._life.draining = True
            self._changed.notify_all()

    def wait_until_drained(self, timeout_s: float) -> bool:
        """*Blocking* until all that is committed was taken and is visible, a mark waits for its record, or the branch is in
        trouble; False when it takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: self._life.has_drained, timeout_s)

    def close(self) -> None:
        """End the thread, after the call of the sink that is going on, and close the sink. Idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._sink.close()

    # The thread.

    def _run(self) -> None:
        while (step := self._next()) is not None:
            try:
                with self._using:
                    self._do(step)
                self._recovered()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other branches go on, and this one tries again
                self._failed(step, error)
            if step.todo is Todo.TAKE:
                self._rest()

    def _next(self) -> Step | None:
        """*Blocking* until there is something to do; None at the end."""
        with self._changed:
            while not self._stopping:
                step = self._life.next()
                if step is not None:
                    return step
                self._changed.wait()
        return None

    def _do(self, step: Step) -> None:
        with self._changed:
            now = self._life.next()
        if now is None or now.core is not step.core or now.todo is not step.todo:
            return  # a new life, or the record has moved on, since we looked
        mark = self._mark_of(now)
        with self._changed:
            self._life.done(now, mark)
            self._changed.notify_all()

    def _mark_of(self, step: Step) -> Mark:
        """Does it."""
        if step.todo is Todo.CLAIM:
            self._sink.claim()
        elif step.todo is Todo.OPEN:
            open_sink(step, self._sink)
        elif step.todo is Todo.PUBLISH:
            assert step.committed.token is not None
            self._sink.publish(step.committed.token)
        else:
            return self._take(step)
        return step.committed

    def _take(self, step: Step) -> Mark:
        prepared, mark = take(
            step,
            self._sink,
            lambda at, end: () if self._log is None else self._log.read(at, end),
            bytes_max=TAKE_BYTES,
            refused=self._dead_letters.put,
            is_over=lambda: self._stopping,
        )
        if prepared is not None:
            prepared.sync()
        return mark

    def _recovered(self) -> None:
        if self._life.attempt:
            log.info("branch_recovered", branch=self._name, attempts=self._life.attempt)
        self._life.attempt = 0

    def _failed(self, step: Step, error: Exception) -> None:
        with self._changed:
            self._life.failed(step, is_taken=isinstance(error, FencedError))
        pause_s = backoff_s(self._life.attempt, RETRY_S_MAX)
        is_known = isinstance(error, QanatError)
        log.warning(
            "branch_in_trouble",
            branch=self._name,
            reason=str(error) or type(error).__name__,
            retry_s=round(pause_s, 1),
            consequence="its events wait in the log of the fan-out; other branches go on",
            exc_info=None if is_known else error,
        )
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, pause_s)

    def _rest(self) -> None:
        """Until there is something to take, or it is time to look whether a file has to be rolled."""
        with self._changed:
            life, draining = self._life, self._life.draining
            pause_s = self._sink.pause_s()
            if pause_s > 0:  # a limited rate: what there is to take waits in the log
                self._changed.wait_for(lambda: self._stopping, pause_s)
                return
            self._changed.wait_for(
                lambda: (
                    self._stopping or _has_staged(life) or life.left_bytes > 0 or life.draining != draining
                ),
                ROLL_S,
            )


def _has_staged(life: BranchLife) -> bool:
    return life.core is not None and life.core.staged is not None
