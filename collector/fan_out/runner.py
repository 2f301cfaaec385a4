"""The thread of one branch that nobody waits for: does what its core says, and tries again for ever when it can't.

Storage has to be claimed before the record is read that says what to make of it (rule 4, `Sink.claim`). A branch whose storage
is away then must not hold up the others, so it claims later, on its thread; and then everybody has to read the record
once more (`must_reread`), before this branch touches anything.
"""

from __future__ import annotations

import threading

import structlog

from collector.dead_letters import DeadLetters
from collector.fan_out.log import BranchLog
from qanat.component import Sink
from qanat.delivery.fan_out import BranchCore, Mark, Todo
from qanat.errors import PermanentError, QanatError, RetryableError
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
        self._changed = threading.Condition()
        self._core: BranchCore | None = None
        self._stopping = False
        self._draining = False
        self._drained = False  # the sink was drained behind the last mark
        self._attempt = 0
        self._using = threading.Lock()  # held while the sink is used
        self._is_claimed = is_claimed
        self._must_reread = False
        self._thread = threading.Thread(target=self._run, name=f"branch-{name}", daemon=True)

    @property
    def mark(self) -> Mark:
        """What the next commit record says."""
        with self._changed:
            if self._core is None:
                raise RetryableError(f"branch {self._name} has begun a new life")
            return self._core.mark

    @property
    def must_reread(self) -> bool:
        """Storage was claimed after the record was read: nothing may be committed before it is read again."""
        with self._changed:
            return self._must_reread

    def is_in_trouble(self) -> bool:
        """Its storage can't be reached, or has refused what was done last."""
        with self._changed:
            return self._attempt > 0 or not self._is_claimed

    @property
    def left_bytes(self) -> int:
        """What is committed in the log and not in this branch; nothing is left that can't be reached."""
        with self._changed:
            core = self._core
            return 0 if core is None else max(0, self._goal(core.committed, core.end) - core.committed.at)

    def claim(self, *, by_force: bool) -> None:
        """Begin a new life: nothing is done before the next `recorded`. Raises RetryableError if storage is taken by force, and
        can't be; else that is tried again on the thread. *Blocking*."""
        with self._changed:
            self._core = None
            self._is_claimed = self._must_reread = False
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
            self._is_claimed = True

    def recorded(self, mark: Mark, end: int, *, reread: bool = False) -> None:
        """The commit record says this; begins, if this is the first time. `reread`: it was read just now."""
        with self._changed:
            self._must_reread = self._must_reread and not reread
            if self._core is None:
                self._core = BranchCore(mark, end)
                if not self._thread.is_alive():
                    self._thread.start()
            else:
                self._core.recorded(mark, end)
            self._changed.notify_all()

    def drain(self) -> None:
        """From here on whatever is taken is finished and published with the next mark."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def wait_until_drained(self, timeout_s: float) -> bool:
        """*Blocking* until all that is committed was taken, a mark waits for its record, or the branch is in trouble; False
        when it takes longer."""
        with self._changed:
            return self._changed.wait_for(self._has_drained, timeout_s)

    def _has_drained(self) -> bool:
        core = self._core
        if core is None or core.staged is not None or self._attempt:
            return True
        return self._drained and core.committed.at >= self._goal(core.committed, core.end)

    def _goal(self, committed: Mark, end: int) -> int:
        return committed.at if self._log is None else end

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
        while (next_ := self._next()) is not None:
            core, todo = next_
            try:
                with self._using:
                    if todo is None:
                        self._claim_late()
                    else:
                        self._do(core, todo)
                self._recovered()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other branches go on, and this one tries again
                self._failed(core, error)
            if todo is Todo.TAKE:
                self._rest()

    def _next(self) -> tuple[BranchCore, Todo | None] | None:
        """*Blocking* until there is something to do; None at the end. To do None is to claim storage."""
        with self._changed:
            while not self._stopping:
                core = self._core
                if core is not None and not self._is_claimed:
                    return core, None
                if core is not None and not self._must_reread and core.todo is not Todo.WAIT:
                    return core, core.todo
                self._changed.wait()
        return None

    def _claim_late(self) -> None:
        with self._changed:
            if self._is_claimed or self._core is None:
                return
        self._sink.claim()
        with self._changed:
            self._is_claimed = self._must_reread = True

    def _do(self, core: BranchCore, todo: Todo) -> None:
        with self._changed:
            if core is not self._core or core.todo is not todo:
                return  # a new life, or the record has moved on, since we looked
            committed, end, draining = core.committed, core.end, self._draining
        mark = committed
        if todo is Todo.OPEN:
            self._sink.open(committed.token)
        elif todo is Todo.PUBLISH:
            assert committed.token is not None
            self._sink.publish(committed.token)
        else:
            mark = self._take(committed, self._goal(committed, end), draining)
        with self._changed:
            if core is not self._core or core.committed != committed:  # the record has moved on meanwhile
                return
            if todo is Todo.OPEN:
                core.opened()
            elif todo is Todo.PUBLISH:
                core.published()
            elif core.is_open:
                core.took(mark)
                self._drained = draining and mark.at >= self._goal(mark, end)
                self._changed.notify_all()

    def _take(self, committed: Mark, end: int, draining: bool) -> Mark:
        at, taken_bytes, events = committed.at, 0, committed.events
        while self._log is not None and at < end and taken_bytes < TAKE_BYTES and not self._stopping:
            for batch, behind in self._log.read(at, end):
                try:
                    self._sink.append(batch)
                except PermanentError as error:
                    self._dead_letters.put(batch, str(error))
                taken_bytes += behind - at
                at, events = behind, events + batch.count
                if taken_bytes >= TAKE_BYTES or self._sink.pause_s() > 0:
                    break
            if self._sink.pause_s() > 0:
                break
        if draining and at >= end:
            self._sink.drain()
        prepared = self._sink.prepare()
        if prepared.token == committed.token and at == committed.at:
            return committed
        prepared.sync()
        return Mark(prepared.token, at, events)

    def _recovered(self) -> None:
        if self._attempt:
            log.info("branch_recovered", branch=self._name, attempts=self._attempt)
        self._attempt = 0

    def _failed(self, core: BranchCore, error: Exception) -> None:
        """The sink has to be opened again, from what is committed."""
        self._attempt += 1
        pause_s = backoff_s(self._attempt, RETRY_S_MAX)
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
            if core is self._core and core.staged is None:
                core.failed()
            self._changed.wait_for(lambda: self._stopping, pause_s)

    def _rest(self) -> None:
        """Until there is something to take, or it is time to look whether a file has to be rolled."""
        with self._changed:
            core = self._core
            assert core is not None
            draining = self._draining
            pause_s = self._sink.pause_s()
            if pause_s > 0:  # a limited rate: what there is to take waits in the log
                self._changed.wait_for(lambda: self._stopping, pause_s)
                return
            self._changed.wait_for(
                lambda: (
                    self._stopping
                    or core.staged is not None
                    or core.committed.at < self._goal(core.committed, core.end)
                    or self._draining != draining
                ),
                ROLL_S,
            )
