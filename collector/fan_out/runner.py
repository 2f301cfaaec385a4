"""The thread of one branch that nobody waits for: does what its core says, and tries again for ever when it can't."""

from __future__ import annotations

import threading

import structlog

from collector.dead_letters import DeadLetters
from collector.fan_out.log import BranchLog
from qanat.component import Sink
from qanat.delivery.fan_out import BranchCore, Mark, Todo
from qanat.errors import PermanentError, QanatError
from qanat.limits import MIB
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

TAKE_BYTES = 16 * MIB  # as much as starts a commit: a mark as often as that while catching up
ROLL_S = 0.2  # with nothing to take, how often the sink may look whether a file has to be rolled: the commit interval
RETRY_S_MAX = 60.0  # the longest pause between attempts at a sink that is away for hours


class BranchRunner:
    """Owns the branch's sink: all of its methods are called on this thread."""

    def __init__(self, name: str, sink: Sink, log_: BranchLog, dead_letters: DeadLetters) -> None:
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
        self._thread = threading.Thread(target=self._run, name=f"branch-{name}", daemon=True)

    @property
    def mark(self) -> Mark:
        """What the next commit record says."""
        with self._changed:
            assert self._core is not None, "a branch has a mark once it was recorded"
            return self._core.mark

    def recorded(self, mark: Mark, end: int) -> None:
        """The commit record says this; begins, if this is the first time."""
        with self._changed:
            if self._core is None:
                self._core = BranchCore(mark, end)
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
        return self._drained and core.committed.at >= core.end

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
        while not self._stopping:
            with self._changed:
                assert self._core is not None
                todo, committed, end = self._core.todo, self._core.committed, self._core.end
                if todo is Todo.WAIT:
                    self._changed.wait()
                    continue
            try:
                self._do(todo, committed, end)
                self._recovered()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other branches go on, and this one tries again
                self._failed(error)
            if todo is Todo.TAKE:
                self._rest()

    def _do(self, todo: Todo, committed: Mark, end: int) -> None:
        core = self._core
        assert core is not None
        match todo:
            case Todo.OPEN:
                self._sink.open(committed.token)
                done = core.opened
            case Todo.PUBLISH:
                assert committed.token is not None
                self._sink.publish(committed.token)
                done = core.published
            case _:
                draining = self._draining
                mark = self._take(committed, end, draining)
                with self._changed:
                    if core.committed == committed and core.is_open:
                        core.took(mark)
                        self._drained = draining and mark.at >= end
                        self._changed.notify_all()
                return
        with self._changed:
            if core.committed == committed:  # else the record has moved on meanwhile
                done()

    def _take(self, committed: Mark, end: int, draining: bool) -> Mark:
        at, taken_bytes = committed.at, 0
        while at < end and taken_bytes < TAKE_BYTES and not self._stopping:
            for batch, behind in self._log.read(at, end):
                try:
                    self._sink.append(batch)
                except PermanentError as error:
                    self._dead_letters.put(batch, str(error))
                taken_bytes += behind - at
                at = behind
                if taken_bytes >= TAKE_BYTES:
                    break
        if draining and at >= end:
            self._sink.drain()
        prepared = self._sink.prepare()
        if prepared.token == committed.token and at == committed.at:
            return committed
        prepared.sync()
        return Mark(prepared.token, at)

    def _recovered(self) -> None:
        if self._attempt:
            log.info("branch_recovered", branch=self._name, attempts=self._attempt)
        self._attempt = 0

    def _failed(self, error: Exception) -> None:
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
            assert self._core is not None
            self._core.failed()
            self._changed.wait_for(lambda: self._stopping, pause_s)

    def _rest(self) -> None:
        """Until there is something to take, or it is time to look whether a file has to be rolled."""
        with self._changed:
            core = self._core
            assert core is not None
            draining = self._draining
            self._changed.wait_for(
                lambda: (
                    self._stopping
                    or core.staged is not None
                    or core.committed.at < core.end
                    or self._draining != draining
                ),
                ROLL_S,
            )
