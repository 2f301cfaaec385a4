"""`[a, b, ...]` in a collector: every event to each of several sinks, exactly once and in order in each.

One commit record covers them all. A branch with `required=true` is written to directly: what it can't take now nobody
takes, and the senders wait. The others are fed from a log on this collector's disk, each with a cursor of its own in the
record: one that is slow or away holds up nobody, and goes on where it was when it is back. So an event is acked when it is
in storage in every required branch, and in storage or durable in the log for the others.

The log lies in the collector's state directory. If the host dies, what only the log has comes when the host is back; or, when
the directory is on storage that others have at the same path, from whoever adopts this sink (`adoption.py`). Who is told what in
which order is `qanat.delivery.fan_out_sink`.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from collector.dead_letters import DeadLetters, Dropped
from collector.fan_out import adoption
from collector.fan_out.balance import Balance
from collector.fan_out.lag import Lags, Told
from collector.fan_out.log import BranchLog
from collector.fan_out.runner import BranchRunner
from qanat.batch import Batch
from qanat.component import Context, LeftBehind, Prepared, Sink
from qanat.delivery.fan_out_sink import Around, Branch, FanOutCore, Log
from qanat.limits import GIB

log = structlog.get_logger(__name__)

# Some minutes of a busy collector's events, or days of a quiet one's, wait for a branch that is away; then senders do.
LOG_BYTES_MAX = 10 * GIB

# How long a stopping collector waits for branches to take the rest: those that can need a second, others have the log.
DRAIN_S = 10.0


class FanOut(Sink):
    """A sink made of sinks."""

    def __init__(
        self,
        branches: Sequence[Branch],
        context: Context,
        *,
        log_bytes_max: int = LOG_BYTES_MAX,
        told: Told = lambda name, lag: None,
        balance: Balance | None = None,
        dropped: Dropped = lambda reason, events: None,
    ) -> None:
        """`told` hears how far each branch is behind; `balance`, when a batch is for one of them, what each has to store;
        `dropped`, how many events a branch will never take."""
        super().__init__(None, context)
        self._branches = branches
        self._log = BranchLog(context.state_dir / "fan-out", log_bytes_max)
        self._dead_letters = {
            branch.name: DeadLetters(context.state_dir / "fan-out" / f"dead-letters-{branch.name}", dropped)
            for branch in branches
        }
        self._runners: dict[str, BranchRunner] = {}
        self._lags = Lags(self._log, context.clock, told)
        self._balance = balance
        self._draining = False
        self._core = FanOutCore(
            branches,
            Around(
                self._log,
                reached=lambda committed: adoption.reached_log(committed, self._log),
                feed=self._feed,
                refused=lambda name, batch, reason: self._dead_letters[name].put(batch, reason),
            ),
        )

    def _feed(self, branch: Branch, log_: Log | None, is_claimed: bool) -> BranchRunner:
        assert log_ is None or isinstance(log_, BranchLog)
        runner = BranchRunner(
            branch.name, branch.sink, log_, self._dead_letters[branch.name], is_claimed=is_claimed
        )
        self._runners[branch.name] = runner
        if self._balance is not None:
            self._balance.watch(branch.name, runner.is_in_trouble)
        return runner

    # Recovery.

    def left_behind(self, token: bytes) -> LeftBehind | None:
        """Files of the branches, and what lies in the log for those that did not take it."""
        found = adoption.left_behind(
            [(branch.name, branch.sink) for branch in self._branches], self._core.decoded(token), self._log
        )
        return found if found.is_finishable or found.stranded_bytes else None

    def claim(self, *, by_force: bool = False) -> None:
        self._core.claim(by_force=by_force)

    def open(self, token: bytes | None) -> None:
        self._core.open(token)
        for name in self._core.left_out:
            log.warning(
                "branch_left_out", branch=name, consequence="what the log still had for it is dropped"
            )
        self._begin_balance()

    def discard(self, token: bytes | None) -> None:
        self._core.discard(token)
        self._begin_balance()

    def _begin_balance(self) -> None:
        if self._balance is not None:
            self._balance.opened(self._core.committed)

    # Transactions.

    def append(self, batch: Batch) -> None:
        self._core.append(batch)
        if self._balance is not None:
            self._balance.appended(batch, self._log.end)

    def pause_s(self) -> float:
        return max((sink.pause_s() for sink in list(self._core.direct.values())), default=0.0)

    def prepare(self) -> Prepared:
        self._core.check()
        if not self._core.adopts:
            self._lags.measure(self._core.committed)
        if self._draining:
            for runner in self._runners.values():
                runner.wait_until_drained(DRAIN_S / len(self._runners))
        return self._core.prepare()

    def publish(self, token: bytes) -> None:
        if self._balance is not None:
            self._balance.committed(self._core.decoded(token))
        self._core.publish(token)

    def backlog_bytes(self) -> int:
        return self._core.backlog_bytes()

    def drain(self) -> None:
        self._draining = True
        self._core.drain()

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()
        for branch in self._branches:  # also one that was claimed, and then never opened
            if branch.name not in self._runners:
                branch.sink.close()
        self._log.close()
