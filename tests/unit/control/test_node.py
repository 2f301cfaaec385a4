"""The core of a physical node: what it does with assignments, failures and restarts."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from qanat.control import node_messages as m
from qanat.control.assignment import Assigned, Assignment, assign, statement_hash
from qanat.control.node import NodeCore
from qanat.control.node_messages import State
from qanat.control.slot import NO_PROGRESS_NS

S = 10**9


def statement(logical: str, text: str) -> Assigned:
    return Assigned(logical, "f", text, statement_hash(text))


def waiting(logical: str) -> Assigned:
    return Assigned(logical, "f", "", "", "no collector")


def told(**texts: str) -> Assignment:
    return assign(statement(name, text) for name, text in texts.items())


@dataclass
class Host:
    """Performs commands as a program does, one at a time, when asked to."""

    core: NodeCore
    now_ns: int = 1000 * S
    pending: list[m.Command] = field(default_factory=list)
    running: dict[str, tuple[int, str, bool]] = field(default_factory=dict)  # number, text, opened
    amendable: set[str] = field(default_factory=set)  # texts that what runs can become
    closing: dict[str, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)  # texts that don't check
    broken: set[str] = field(default_factory=set)  # texts that don't open
    held: set[str] = field(default_factory=set)  # texts that can't be drained for a successor
    saved: m.Lasting = field(default_factory=m.Lasting)

    def handle(self, event: m.Event) -> None:
        for command in self.core.handle(event, self.now_ns):
            if isinstance(command, m.Close):  # begins at once, and ends some time
                self.closing[command.logical] = self.running[command.logical][0]
            if isinstance(command, m.Open):
                assert command.logical not in self.running, "two owners of one state directory"
                self.running[command.logical] = (command.number, command.text, False)
                self.log.append(f"open {command.text}")
            if isinstance(command, m.Amend):  # done before anything else can happen
                self.perform(command)
            else:
                self.pending.append(command)

    def tell(self, assignment: Assignment) -> None:
        self.handle(m.Told(assignment.revision, assignment.statements))

    def perform(self, command: m.Command) -> None:
        match command:
            case m.Check():
                fault = "bad" if command.text in self.bad else ""
                self.handle(m.Checked(command.logical, command.number, fault))
            case m.Amend():
                done = command.text in self.amendable and self.running[command.logical][2]
                if done:
                    number = self.running[command.logical][0]
                    self.running[command.logical] = (number, command.text, True)
                    self.log.append(f"amend {command.text}")
                self.handle(m.Amended(command.logical, command.number, done))
            case m.Open() if self.running.get(command.logical, (0,))[0] != command.number:
                pass  # it has ended meanwhile
            case m.Open():
                if command.text in self.broken:
                    self.end(command.logical, "broken")
                else:
                    self.running[command.logical] = (command.number, command.text, True)
                    self.handle(m.Opened(command.logical, command.number))
            case m.Close() if self.running.get(command.logical, (0,))[0] != self.closing[command.logical]:
                pass
            case m.Close():
                self.log.append(f"close {self.running[command.logical][1]}")
                held = command.successor and self.running[command.logical][1] in self.held
                self.end(command.logical, "not empty" if held else "")
            case m.Save():
                self.saved = self.core.lasting()

    def end(self, logical: str, why: str) -> None:
        number, _, _ = self.running.pop(logical)
        self.handle(m.Ended(logical, number, why))

    def settle(self, *, steps_max: int = 200) -> None:
        """Everything but waits."""
        waits = []
        for _ in range(steps_max):
            if not self.pending:
                self.pending = waits
                return
            command = self.pending.pop(0)
            if isinstance(command, m.Wait):
                waits.append(command)
            else:
                self.perform(command)
        raise AssertionError(f"it does not come to rest: {self.log[-10:]}")

    def wait(self) -> None:
        """The pauses after failures are over."""
        waits = [each for each in self.pending if isinstance(each, m.Wait)]
        self.pending = []
        for each in waits:
            self.handle(m.TimeOver(each.logical, each.number))
        self.settle()

    def state(self, logical: str) -> m.LogicalReport:
        (found,) = [each for each in self.core.report() if each.logical == logical]
        return found

    def texts(self) -> list[str]:
        return sorted(text for _, text, opened in self.running.values() if opened)


@pytest.fixture
def host():
    return Host(NodeCore())


def test_node_runs_and_reports_as_applied_what_it_is_told(host):
    first = told(a="a1", b="b1")
    host.tell(first)
    host.settle()
    assert host.texts() == ["a1", "b1"]
    assert host.core.applied_revision == host.core.wanted_revision == first.revision
    assert host.state("a").state is State.ACTIVE
    assert host.saved == m.Lasting(first.revision, first.statements)


def test_node_touches_only_what_changed(host):
    host.tell(told(a="a1", b="b1"))
    host.settle()
    host.log.clear()
    host.tell(told(a="a2", b="b1"))
    host.settle()
    assert host.log == ["close a1", "open a2"]


def test_what_runs_is_amended_where_that_goes_without_draining(host):
    host.tell(told(a="a1"))
    host.settle()
    host.log.clear()
    host.amendable.add("a2")
    host.tell(told(a="a2"))
    host.settle()
    assert host.log == ["amend a2"]
    assert host.core.is_applied
    assert [each.text for each in host.saved.good] == ["a2"]
    host.handle(m.Refreshed())
    host.settle()
    assert host.log == ["amend a2", "close a2", "open a2"]  # asked to be built anew


def test_bad_statement_leaves_the_old_one_running_untouched(host):
    good = told(a="a1", b="b1")
    host.tell(good)
    host.settle()
    host.log.clear()
    host.bad.add("a2")
    host.tell(told(a="a2", b="b2"))
    host.settle()
    assert host.log == ["close b1", "open b2"]
    assert host.texts() == ["a1", "b2"]
    state = host.state("a")
    assert (state.state, state.why, state.attempts) == (State.ACTIVE, "bad", 1)
    assert state.running_hash == statement_hash("a1") != state.wanted_hash
    assert host.core.applied_revision == good.revision  # the last that ran completely


def test_statement_that_does_not_open_is_replaced_by_the_old_one_and_tried_again(host):
    host.tell(told(a="a1"))
    host.settle()
    host.broken.add("a2")
    host.tell(told(a="a2"))
    host.settle()
    assert host.log == ["open a1", "close a1", "open a2", "open a1"]
    assert (host.state("a").why, host.texts()) == ("broken", ["a1"])
    host.wait()
    assert host.state("a").attempts == 2
    host.broken.clear()
    host.wait()
    assert host.texts() == ["a2"]
    assert (host.state("a").why, host.state("a").attempts) == ("", 0)
    assert host.core.is_applied


def test_old_statement_goes_on_when_it_can_not_be_drained(host):
    host.tell(told(a="a1"))
    host.settle()
    host.held.add("a1")
    host.tell(told(a="a2"))
    host.settle()
    assert (host.texts(), host.state("a").why) == (["a1"], "not empty")
    host.held.clear()
    host.wait()
    assert host.texts() == ["a2"]


def test_first_statement_that_fails_is_an_error_until_it_opens(host):
    host.broken.add("a1")
    host.tell(told(a="a1"))
    host.settle()
    assert (host.state("a").state, host.state("a").why) == (State.ERROR, "broken")
    assert host.core.applied_revision == ""
    host.broken.clear()
    host.wait()
    assert host.state("a").state is State.ACTIVE


def test_better_statement_is_tried_at_once_after_a_failure(host):
    host.broken.add("a1")
    host.tell(told(a="a1"))
    host.settle()
    host.tell(told(a="a2"))
    host.settle()
    assert host.texts() == ["a2"]


def test_node_that_ends_by_itself_is_started_again(host):
    host.tell(told(a="a1"))
    host.settle()
    host.end("a", "disk full")
    host.settle()
    assert (host.state("a").state, host.state("a").running_hash) == (State.ERROR, "")
    assert host.core.applied_revision == ""
    host.wait()
    assert host.texts() == ["a1"]
    assert host.core.is_applied


def test_removed_node_is_drained_reported_once_and_forgotten(host):
    host.tell(told(a="a1", b="b1"))
    host.settle()
    host.tell(told(b="b1"))
    host.settle()
    assert host.texts() == ["b1"]
    assert [each.state for each in host.core.report() if each.logical == "a"] == [State.DECOMMISSIONED]
    assert [each.logical for each in host.core.report()] == ["b"]
    assert host.core.is_applied
    assert [each.logical for each in host.saved.good] == ["b"]


def test_waiting_statement_keeps_what_runs_and_counts_as_applied(host):
    host.tell(told(a="a1"))
    host.settle()
    host.tell(assign([waiting("a"), waiting("b")]))
    host.settle()
    assert host.texts() == ["a1"]
    assert (host.state("b").state, host.state("b").why) == (State.IDLE, "no collector")
    assert host.core.is_applied


def test_refresh_builds_anew_what_did_not_change(host):
    host.tell(told(a="a1", b="b1"))
    host.settle()
    host.log.clear()
    host.handle(m.Refreshed(("a",)))
    host.settle()
    assert host.log == ["close a1", "open a1"]
    assert host.core.is_applied


def test_node_alone_runs_what_ran_last_and_then_what_a_master_says():
    last = told(a="a1", b="b1")
    host = Host(NodeCore(last.statements, last.revision))
    host.handle(m.Alone())
    host.settle()
    assert host.texts() == ["a1", "b1"]
    host.log.clear()
    host.tell(told(a="a1", b="b2"))
    host.settle()
    assert host.log == ["close b1", "open b2"]


def test_restarted_node_finishes_what_ran_last_before_it_runs_something_else():
    last = told(a="a1", b="b1", c="c1")
    host = Host(NodeCore(last.statements, last.revision))
    host.tell(told(a="a2", c="c1"))
    host.settle()
    assert sorted(host.log) == sorted(["open a1", "close a1", "open a2", "open b1", "close b1", "open c1"])
    assert host.texts() == ["a2", "c1"]


def test_restarted_node_gets_over_a_last_statement_that_does_not_open_any_more():
    last = told(a="a1")
    host = Host(NodeCore(last.statements, last.revision), broken={"a1"})
    host.tell(told(a="a2"))
    host.settle()
    host.wait()
    assert host.texts() == ["a2"]
    assert host.core.is_applied


def test_what_was_about_to_open_is_noted_before_and_opened_first_after_a_crash():
    host = Host(NodeCore())
    host.tell(told(a="a1"))
    host.settle()
    host.tell(told(a="a2"))
    while "open a2" not in host.log:
        host.perform(host.pending.pop(0))
    host.pending = [each for each in host.pending if not isinstance(each, m.Report)]
    assert [type(each) for each in host.pending] == [m.Save, m.Open]
    host.perform(host.pending.pop(0))
    last = host.saved
    assert [each.text for each in (*last.good, *last.begun)] == ["a1", "a2"]
    host = Host(NodeCore(last.good, last.revision, last.begun))
    host.tell(told(a="a3"))
    host.settle()
    assert host.log == ["open a2", "close a2", "open a3"]
    assert [each.text for each in (*host.saved.good, *host.saved.begun)] == ["a3"]


def test_what_was_about_to_open_and_does_not_is_followed_by_what_was_good():
    last = m.Lasting("r", (statement("a", "a1"),), (statement("a", "a2"),))
    host = Host(NodeCore(last.good, last.revision, last.begun), broken={"a2"})
    host.handle(m.Alone())
    host.settle()
    assert host.texts() == ["a1"]
    assert host.saved.begun == ()


def test_what_ended_by_itself_is_opened_and_drained_before_another_is(host):
    """What it had sent when it ended is acknowledged to it, and to no other."""
    host.tell(told(a="a1"))
    host.settle()
    host.end("a", "crash")
    host.log.clear()
    host.tell(told(a="a2"))
    host.settle()
    assert host.log == ["open a1", "close a1", "open a2"]


def test_node_that_does_not_get_on_says_so_until_it_does(host):
    host.tell(told(a="a1"))
    host.settle()
    for _ in range(2):
        host.now_ns += NO_PROGRESS_NS
        host.handle(m.Measured("a", 7, "5 bytes are not read"))
    assert host.state("a").state is State.NO_PROGRESS
    assert "5 bytes are not read" in host.state("a").why
    host.handle(m.Measured("a", 8, "5 bytes are not read"))
    assert (host.state("a").state, host.state("a").why) == (State.ACTIVE, "")


def test_node_that_waits_for_something_to_open_says_for_what(host):
    host.tell(told(a="a1"))
    while "open a1" not in host.log:
        host.perform(host.pending.pop(0))
    host.handle(m.Measured("a", 0, "", "the store is away"))
    assert (host.state("a").state, host.state("a").why) == (
        State.OPENING,
        "it has not opened yet: the store is away",
    )
    host.settle()
    assert (host.state("a").state, host.state("a").why) == (State.ACTIVE, "")


def test_idle_node_has_no_progress_to_make(host):
    host.tell(told(a="a1"))
    host.settle()
    for _ in range(2):
        host.now_ns += NO_PROGRESS_NS
        host.handle(m.Measured("a", 7, ""))
    assert host.state("a").state is State.ACTIVE


def test_node_whose_source_is_at_its_end_is_idle_once_everything_is_acknowledged(host):
    host.tell(told(a="a1"))
    host.settle()
    host.handle(m.Measured("a", 7, "5 bytes are not stored", over=True))
    assert host.state("a").state is State.ACTIVE
    host.handle(m.Measured("a", 8, "", over=True))
    assert host.state("a").state is State.IDLE
    host.handle(m.Measured("a", 8, ""))  # there is more after all
    assert host.state("a").state is State.ACTIVE


def test_stopping_drains_everything_and_starts_nothing(host):
    host.broken.add("b1")
    host.tell(told(a="a1", b="b1"))
    host.settle()
    host.handle(m.Stopping())
    host.tell(told(a="a2"))
    host.settle()
    host.wait()
    assert host.texts() == []
    assert host.core.is_over
    assert "open a2" not in host.log


@pytest.mark.parametrize("seed", range(300))
def test_node_ends_with_what_was_wanted_last_whatever_happens_on_the_way(seed):
    chance = random.Random(seed)
    texts = {name: [f"{name}{number}" for number in range(3)] for name in "abc"}
    host = Host(NodeCore())
    for _ in range(60):
        every = [each for one in texts.values() for each in one]
        host.bad, host.broken, host.held, host.amendable = (
            {each for each in every if chance.random() < 0.2} for _ in range(4)
        )
        match chance.randrange(5):
            case 0:
                names = chance.sample("abc", chance.randint(0, 3))
                chosen = [
                    waiting(name) if chance.random() < 0.2 else statement(name, chance.choice(texts[name]))
                    for name in names
                ]
                host.tell(assign(chosen))
            case 1 if host.running:
                host.end(chance.choice(list(host.running)), "crash")
            case 2:
                host.handle(m.Refreshed(tuple(chance.sample("abc", 1))))
            case _ if host.pending:
                command = host.pending.pop(chance.randrange(min(2, len(host.pending))))
                if isinstance(command, m.Wait):
                    host.handle(m.TimeOver(command.logical, command.number))
                else:
                    host.perform(command)
    host.bad, host.broken, host.held = set(), set(), set()
    final = told(a="a1", c="c2")
    host.tell(final)
    for _ in range(3):
        host.settle()
        host.wait()
    assert host.texts() == ["a1", "c2"]
    assert host.core.applied_revision == final.revision
