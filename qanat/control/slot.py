"""One logical node on a physical node: what is wanted, what runs, and the next step from the one to the other. [pure]

Theory of operation. A slot is in one of these steps:

    STOPPED    nothing runs
    CHECKING   the wanted statement is being checked; what runs goes on
    OPENING    something was started and has not proved to open
    RUNNING    it has
    CLOSING    it is being drained, to be followed by what is wanted, or by nothing

A change is a transaction: check, drain the old, open the new; and on failure open the old again and try the change later. The
old one is always drained before the new one opens, since both own the same state directory; only where what runs can be amended,
nothing is drained. A statement is good once it has opened; the last good one is what a failed change returns to, also after a
restart of the process.

What a former life ran is opened and drained before anything else is: its events may wait in a channel that the next statement
does not have. It is `begun` if there is such a thing: that was noted before it opened, when all of `good` was drained.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from qanat.control.assignment import Assigned
from qanat.control.node_messages import Amend, Check, Close, Command, Open, Report, Save, Say, State, Wait

# A node whose source has data, and of which nothing was acked for so long, is unhealthy. Longer than a failover, and than a
# commit of a slow store.
NO_PROGRESS_NS = 30 * 10**9

# Who ran for so long after a failure begins a new series of attempts.
STEADY_NS = 60 * 10**9


class Step(enum.Enum):
    """See the module's theory of operation."""

    STOPPED = "stopped"
    CHECKING = "checking"
    OPENING = "opening"
    RUNNING = "running"
    CLOSING = "closing"


@dataclass(slots=True)
class Slot:
    """`good`: opened last. `begun`: is, or was about to be opened, and is not `good`; both are kept over restarts. `run`:
    opening, running or closing. `failure`: of the last attempt at what is wanted."""

    logical: str
    good: Assigned | None = None
    begun: Assigned | None = None
    wanted: Assigned | None = None
    run: Assigned | None = None
    step: Step = Step.STOPPED
    state: State = State.HELLO
    since_ns: int = 0
    address: str = ""
    failure: str = ""
    attempts: int = 0
    out: list[Command] = field(default_factory=list)
    stopping: bool = False
    _checked: Assigned | None = None
    _number: int = 0
    _run_number: int = 0
    _timer: int = 0  # the wait that is under way; 0: none
    _refresh: bool = False
    _resumed: bool = (
        False  # `last` was opened and did not fail after that, so that it was drained if it ended
    )
    _is_last: bool = False  # `run` was opened because it ran last
    _failures: int = 0  # in a row, for the backoff
    _opened_ns: int = 0
    _acked: int = 0
    _moved_ns: int = 0
    _stuck: str = ""  # why it does not get on

    # What others ask.

    @property
    def last(self) -> Assigned | None:
        """What ran last, as far as is known."""
        return self.begun or self.good

    @property
    def is_settled(self) -> bool:
        """It runs what is wanted, or need not."""
        if self.wanted is None:
            return False  # it is to go, and has not gone
        if self.wanted.waiting:
            return True
        return self.step is Step.RUNNING and self._runs_wanted and not self._refresh

    @property
    def is_over(self) -> bool:
        """Nothing runs, and nothing is to run."""
        return self.step is Step.STOPPED and (self.wanted is None or self.stopping)

    @property
    def running_hash(self) -> str:
        """Of what runs; "" when nothing has opened."""
        runs = self.step in (Step.RUNNING, Step.CHECKING, Step.CLOSING) and self.run is not None
        return self.run.hash if runs and self.run is not None else ""

    @property
    def why(self) -> str:
        """What people should know about its state."""
        if self.failure:
            return self.failure
        if self._stuck and self.step is Step.OPENING:
            return f"it has not opened yet: {self._stuck}"
        if self._stuck:
            return f"nothing was acknowledged for {NO_PROGRESS_NS // 10**9} s or more: {self._stuck}"
        return "" if self.wanted is None else self.wanted.waiting

    # Events.

    def want(self, statement: Assigned | None, now_ns: int) -> None:
        """From now on this is to run; None: nothing is."""
        if statement != self.wanted:
            is_other = statement is None or self.wanted is None or statement.hash != self.wanted.hash
            self.wanted = statement
            if is_other:
                self._forgive()
            self.out.append(Report())
        self.settle(now_ns)

    def refresh(self, now_ns: int) -> None:
        """Build it anew though nothing changed."""
        self._refresh = True
        self._forgive()
        self.settle(now_ns)

    def checked(self, number: int, fault: str, now_ns: int) -> None:
        """`fault`: "" when it can be run."""
        if number != self._number or self.step is not Step.CHECKING:
            return
        assert self._checked is not None
        if fault:
            self.step = Step.STOPPED if self.run is None else Step.RUNNING
            self._failed(fault)
            self._fall_back(now_ns)
        elif self.run is None:
            self._open(self._checked, now_ns)
        elif self._refresh:
            self._close(self._checked.text, now_ns)
        else:
            self.out.append(Amend(self.logical, number, self._checked.text))

    def amended(self, number: int, *, done: bool, now_ns: int) -> None:
        """`done`: what was checked runs; else what ran before has to be drained for it."""
        if number != self._number or self.step is not Step.CHECKING:
            return
        assert self._checked is not None
        if not done:
            self._close(self._checked.text, now_ns)
            return
        self.step, self.run, self.good, self.begun = Step.RUNNING, self._checked, self._checked, None
        self.failure, self.attempts = "", 0
        self.out += [Save(), Report()]
        self.settle(now_ns)

    def opened(self, number: int, address: str, now_ns: int) -> None:
        """It has proved to open."""
        if number != self._run_number or self.step is not Step.OPENING:
            return
        self.step, self.address, self._stuck = Step.RUNNING, address, ""
        self._opened_ns = self._moved_ns = now_ns
        self._become(State.ACTIVE, now_ns)
        if self._runs_wanted:
            self.failure, self.attempts = "", 0
        if self.run != self.good:
            self.good, self.begun = self.run, None
            self.out.append(Save())
        self.out.append(Report())
        self.settle(now_ns)

    def ended(self, number: int, why: str, now_ns: int) -> None:
        """Nothing runs any more."""
        if number != self._run_number or self.run is None:
            return
        before, ended = self.step, self.run
        self.step, self.run, self.address = Step.STOPPED, None, ""
        self._stuck = ""
        if before is Step.CLOSING and not why:
            self.settle(now_ns)
            return
        if before is not Step.OPENING:
            self._resumed = (
                False  # what it has sent, and was not acknowledged, it sends again: under its own name
            )
        if now_ns - self._opened_ns > STEADY_NS:
            self._failures = 0
        self._failed(why or "it ended by itself")
        if before is Step.OPENING and self._is_last:
            self._forgive()  # nothing more can be done for it, and what is wanted has not failed
            self.settle(now_ns)
            return
        self._become(State.ERROR, now_ns)
        is_change = before is Step.CLOSING or (before is Step.OPENING and ended != self.good)
        if is_change:
            self._fall_back(now_ns)
        else:
            self.settle(now_ns)

    def time_over(self, number: int, now_ns: int) -> None:
        """The pause after a failure is over."""
        if number == self._timer:
            self._timer = 0
            self.settle(now_ns)

    def measured(self, acked: int, behind: str, waits_for: str, now_ns: int, *, over: bool = False) -> None:
        """Whether it gets on, or has done all that there will ever be."""
        if self.step is Step.OPENING and waits_for != self._stuck:
            self._stuck = waits_for
            self.out.append(Report())
        behind = waits_for or behind
        if acked != self._acked or not behind:
            self._acked, self._moved_ns = acked, now_ns
        if self.step is not Step.RUNNING:
            return
        self._stuck = behind if now_ns - self._moved_ns >= NO_PROGRESS_NS else ""
        going_on = State.IDLE if over and not behind else State.ACTIVE
        self._become(State.NO_PROGRESS if self._stuck else going_on, now_ns)

    def settle(self, now_ns: int) -> None:
        """The next step towards what is wanted, if there is one to be taken now."""
        match self.step:
            case Step.STOPPED:
                self._settle_stopped(now_ns)
            case Step.RUNNING:
                self._settle_running(now_ns)
            case Step.OPENING if self.stopping or self._is_superseded():
                self._close("" if self.wanted is None else self.wanted.text, now_ns)
            case Step.CHECKING if self.stopping or self._checked != self.wanted:
                self._checked = None
                self.step = Step.STOPPED if self.run is None else Step.RUNNING
                self.settle(now_ns)

    # Steps.

    def _settle_stopped(self, now_ns: int) -> None:
        if self.stopping:
            self._become(State.IDLE, now_ns)
        elif self.last is not None and self.last != self.wanted and not (self._resumed or self._timer):
            # It has a channel to be emptied, or files to be finished, like any that is replaced or removed.
            self._open(self.last, now_ns, is_last=True)
        elif self.wanted is None:
            self._become(State.DECOMMISSIONED, now_ns)
        elif self.wanted.waiting:
            self._settle_waiting(now_ns)
        elif not self._timer:
            self._check(self.wanted, now_ns)

    def _settle_waiting(self, now_ns: int) -> None:
        if self.good is None:
            self._become(State.IDLE, now_ns)
        elif not self._timer:
            self._open(self.good, now_ns)

    def _settle_running(self, now_ns: int) -> None:
        if self.stopping or self.wanted is None:
            self._close("", now_ns)
        elif self._refresh or not (self._runs_wanted or self.wanted.waiting or self._timer):
            self._check(self.run if self.wanted.waiting and self.run is not None else self.wanted, now_ns)

    def _is_superseded(self) -> bool:
        """What is opening is neither wanted nor what a failed change returned to."""
        if self.run == self.good or self._is_last:
            return False  # it is returned to, or opened to be drained
        return self.wanted is None or not (self._runs_wanted or self.wanted.waiting or self._timer)

    @property
    def _runs_wanted(self) -> bool:
        return self.run is not None and self.wanted is not None and self.run.hash == self.wanted.hash

    def _check(self, statement: Assigned, now_ns: int) -> None:
        self.step, self._checked = Step.CHECKING, statement
        self._number += 1
        if self.run is None:
            self._become(State.OPENING, now_ns)
        self.out.append(Check(self.logical, self._number, statement.text))

    def _open(self, statement: Assigned, now_ns: int, *, is_last: bool = False) -> None:
        self.step, self.run = Step.OPENING, statement
        begun = None if statement == self.good else statement
        if begun != self.begun:
            self.begun = begun
            self.out.append(Save())
        self._refresh, self._resumed, self._is_last = False, True, is_last
        self._number += 1
        self._run_number = self._number
        self._opened_ns = now_ns
        self._become(State.OPENING, now_ns)
        self.out.append(Open(self.logical, self._number, statement.text))

    def _close(self, successor: str, now_ns: int) -> None:
        self.step = Step.CLOSING
        self._become(State.CLOSING, now_ns)
        self.out.append(Close(self.logical, successor))

    def _fall_back(self, now_ns: int) -> None:
        """A change failed: to what was good, if that is something else and does not run anyway."""
        good = self.good
        if self.step is not Step.STOPPED or self.stopping:
            self.settle(now_ns)
        elif good is not None and self.wanted is not None and good.hash != self.wanted.hash:
            self._open(good, now_ns)
        else:
            self._become(State.ERROR, now_ns)
            self.settle(now_ns)

    def _failed(self, why: str) -> None:
        self.failure = why
        self.attempts += 1
        self._failures += 1
        self._refresh = False
        self._number += 1
        self._timer = self._number
        self.out.append(Say("logical_node_failed", self.logical, why))
        self.out.append(Wait(self.logical, self._timer, self._failures))
        self.out.append(Report())

    def _forgive(self) -> None:
        """Something else is wanted: former failures say nothing about it."""
        self.failure, self.attempts, self._failures, self._timer = "", 0, 0, 0

    def _become(self, state: State, now_ns: int) -> None:
        if state is not self.state:
            self.state, self.since_ns = state, now_ns
            self.out.append(Report())
