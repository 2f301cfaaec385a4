"""`[a, b, ...]` in a collector: every event to each of several sinks, exactly once and in order in each.

One commit record covers them all. A branch with `required=true` is written to directly: what it can't take now nobody
takes, and the senders wait. The others are fed from a log on this collector's disk, each with a cursor of its own in the
record: one that is slow or away holds up nobody, and goes on where it was when it is back. So an event is acked when it is
in storage in every required branch, and in storage or durable in the log for the others.

The log lies in the collector's state directory. If the host dies, what only the log has comes when the host is back; or, when
the directory is on storage that others have at the same path, from whoever adopts this sink (`adoption.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from collector.dead_letters import DeadLetters
from collector.fan_out import adoption
from collector.fan_out import token as tokens
from collector.fan_out.balance import Balance
from collector.fan_out.lag import Lags, Told
from collector.fan_out.log import BranchLog
from collector.fan_out.runner import BranchRunner
from collector.fan_out.token import Token
from qanat.batch import Batch
from qanat.component import Context, LeftBehind, Prepared, Sink
from qanat.delivery.fan_out import Mark
from qanat.errors import PermanentError, RetryableError
from qanat.limits import GIB

log = structlog.get_logger(__name__)

# Some minutes of a busy collector's events, or days of a quiet one's, wait for a branch that is away; then senders do.
LOG_BYTES_MAX = 10 * GIB

# How long a stopping collector waits for branches to take the rest: those that can need a second, others have the log.
DRAIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Branch:
    """One sink of a fan-out. `name` tells it from the others, over restarts."""

    name: str
    sink: Sink
    required: bool = False


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
    ) -> None:
        """`told` hears how far each branch is behind; `balance`, when a batch is for one of them, what each has to store."""
        super().__init__(None, context)
        self._branches = branches
        self._log = BranchLog(context.state_dir / "fan-out", log_bytes_max)
        self._dead_letters = {
            branch.name: DeadLetters(context.state_dir / "fan-out" / f"dead-letters-{branch.name}")
            for branch in branches
        }
        self._direct: dict[str, Sink] = {}
        self._fed: dict[str, BranchRunner] = {}
        self._lags = Lags(self._log, context.clock, told)
        self._balance = balance
        self._draining = False
        self._adopts = False  # the sink of a dead collector, whose log is read and not written
        self._reached: BranchLog | None = self._log
        self._late: set[str] = set()  # of the branches, whose storage was away when it was claimed
        self._committed = tokens.decode(None, "")
        self._events = 0

    # Recovery.

    def left_behind(self, token: bytes) -> LeftBehind | None:
        """Files of the branches, and what lies in the log for those that did not take it."""
        committed = self._decoded(token)
        found = adoption.left_behind(
            [(branch.name, branch.sink) for branch in self._branches], committed, self._log
        )
        return found if found.is_finishable or found.stranded_bytes else None

    def claim(self, *, by_force: bool = False) -> None:
        self._adopts = by_force
        for branch in self._branches:
            if branch.name not in self._fed:
                self._claim_direct(branch, by_force)
        for runner in self._fed.values():
            runner.claim(by_force=by_force)

    def _claim_direct(self, branch: Branch, by_force: bool) -> None:
        """Before the record is read nobody knows how a branch is fed. One that need not be waited for is fed from the log
        if its storage is away now."""
        self._late.discard(branch.name)
        try:
            branch.sink.claim(by_force=by_force)
        except RetryableError:
            if by_force or branch.required:
                raise
            self._late.add(branch.name)

    def open(self, token: bytes | None) -> None:
        committed = self._decoded(token)
        if self._adopts:
            self._branches = [each for each in self._branches if each.name in committed.names]
            self._reached = adoption.reached_log(committed, self._log)
        else:
            self._reached = self._log
            if token is None:
                self._log.set_aside()
            self._log.open(committed.end)
        self._events = committed.events
        self._assign(committed)
        if self._balance is not None:
            self._balance.opened(committed)
        for name, sink in self._direct.items():
            sink.open(committed.of(name))
        self._recorded(committed, reread=True)

    def discard(self, token: bytes | None) -> None:
        committed = self._decoded(token)
        if not self._adopts:
            self._log.open(committed.end)
        self._events = committed.events
        if self._balance is not None:
            self._balance.opened(committed)
        for name, sink in self._direct.items():
            sink.discard(committed.of(name))
        self._recorded(committed, reread=True)

    def _assign(self, committed: Token) -> None:
        """Who is written to directly: the required, once they have taken what the log still has for them."""
        for branch in self._branches:
            mark = committed.marks.get(branch.name)
            is_direct = branch.name not in self._fed
            if is_direct and branch.required and (mark is None or mark.at >= committed.end):
                self._direct[branch.name] = branch.sink
            elif is_direct:
                self._fed[branch.name] = BranchRunner(
                    branch.name,
                    branch.sink,
                    self._reached,
                    self._dead_letters[branch.name],
                    is_claimed=branch.name not in self._late,
                )
                if self._balance is not None:
                    self._balance.watch(branch.name, self._fed[branch.name].is_in_trouble)
        for name in committed.names - {branch.name for branch in self._branches}:
            log.warning(
                "branch_left_out", branch=name, consequence="what the log still had for it is dropped"
            )

    def _decoded(self, token: bytes | None) -> Token:
        return tokens.decode(token, self._branches[0].name)

    def _recorded(self, committed: Token, *, reread: bool = False) -> None:
        """Tell the branches that are fed what the record says. A new one begins at the end."""
        self._committed = committed
        for name, runner in self._fed.items():
            new = Mark(committed.direct.get(name), committed.end, committed.events)
            runner.recorded(committed.marks.get(name, new), committed.end, reread=reread)

    # Transactions.

    def append(self, batch: Batch) -> None:
        for name, sink in self._direct.items():
            try:
                sink.append(batch)
            except PermanentError as error:
                self._dead_letters[name].put(batch, str(error))
        if self._fed:
            self._log.append(batch)
            self._events += batch.count
        if self._balance is not None:
            self._balance.appended(batch, self._log.end)

    def pause_s(self) -> float:
        return max((sink.pause_s() for sink in list(self._direct.values())), default=0.0)

    def prepare(self) -> Prepared:
        late = [name for name, runner in self._fed.items() if runner.must_reread]
        if late:
            raise RetryableError(f"the storage of branch {', '.join(late)} is back: the record is read again")
        if not self._adopts:
            self._lags.measure(self._committed)
        if self._draining:
            for runner in self._fed.values():
                runner.wait_until_drained(DRAIN_S / len(self._fed))
        prepared = {name: sink.prepare() for name, sink in self._direct.items()}
        token = Token(
            tokens.MAGIC,
            tokens.VERSION,
            {name: each.token for name, each in prepared.items()},
            {name: runner.mark for name, runner in self._fed.items()},
            self._committed.end if self._adopts else self._log.end,
            self._events,
            self._committed.log if self._adopts else self._log.place,
        )
        syncs: list[Callable[[], None]] = [each.sync for each in prepared.values()]
        if self._fed and not self._adopts:
            syncs.append(self._log.cut())
        return Prepared(tokens.encode(token), lambda: _sync(syncs))

    def publish(self, token: bytes) -> None:
        committed = self._decoded(token)
        self._recorded(committed)
        if self._balance is not None:
            self._balance.committed(committed)
        for name, sink in self._direct.items():
            direct = committed.of(name)
            if direct is not None:
                sink.publish(direct)
        if self._reached is not None:
            self._reached.release(committed.slowest)

    def backlog_bytes(self) -> int:
        return max((runner.left_bytes for runner in self._fed.values()), default=0)

    def drain(self) -> None:
        self._draining = True
        for sink in self._direct.values():
            sink.drain()
        for runner in self._fed.values():
            runner.drain()

    def close(self) -> None:
        for sink in self._direct.values():
            sink.close()
        for runner in self._fed.values():
            runner.close()
        self._log.close()


def _sync(syncs: Sequence[Callable[[], None]]) -> None:
    for sync in syncs:
        sync()
