"""A node that is given one channel after another, and killed at any step: every event is stored once, and in order.

The decisions are the real ones (`NodeCore`, `home`); what they steer is a model of a source, of channels and of a collector,
which keep what the real ones keep over a kill, and forget the rest.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass, field

import pytest

from agent import home
from qanat.control import node_messages as m
from qanat.control.assignment import Assigned, assign, statement_hash
from qanat.control.node import NodeCore
from qanat.flow.parser import parse_component

CHANNELS = {
    "none": None,
    "file": parse_component("fileChannel"),
    "larger": parse_component("fileChannel(capacity=20GiB)"),  # the same place
    "sql": parse_component('sqlChannel(url="sqlite:///x.db")'),
}
BROKEN = "broken"  # it never opens: its database is away
CHANNELS[BROKEN] = parse_component('sqlChannel(url="sqlite:///gone.db")')
HISTORY = ["none", "file", "sql", "larger", "file", "none", BROKEN, "sql"]


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch):
    """A kill of the process, not of the machine: thousands of syncs would take a minute."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class KilledError(Exception):
    """SIGKILL."""


@dataclass
class Log:
    """A channel on disk."""

    events: list[int] = field(default_factory=list)
    taken: int = 0  # of the source
    cursor: int = 0  # saved now and then


@dataclass
class World:
    """What lasts. `kill_at`: the number of the step before which the process is killed."""

    directory: object
    kill_at: int = -1
    steps: int = 0
    told: str = ""  # last
    written: int = 0  # by the application
    saved_position: int = 0  # the source's
    lasting: m.Lasting = field(default_factory=m.Lasting)
    logs: dict[str, Log] = field(default_factory=dict)
    committed: dict[tuple[str, str], int] = field(default_factory=dict)  # sender and stream -> position
    stored: list[int] = field(default_factory=list)

    def step(self):
        if self.steps == self.kill_at:
            self.kill_at = -1
            raise KilledError
        self.steps += 1


class Runs:
    """What runs in one process: forgotten when it is killed."""

    def __init__(self, world, text):
        channel = CHANNELS[text]
        self.world, self.place = world, home.place(channel)
        world.step()
        self.sender = f"web~{home.moved(world.directory, channel, moves_in=True)}"
        world.step()
        self.log = world.logs.setdefault(self.place, Log()) if channel else None
        if self.log is not None:
            self.log.taken = max(self.log.taken, world.saved_position)
        self.known = self.log.cursor if self.log is not None else world.saved_position
        self.next = max(self.known, world.committed.get((self.sender, self.place), 0))

    def move(self, feeds=2, delivers=1):
        """Some events."""
        world = self.world
        if self.log is not None:
            until = min(world.written, self.log.taken + feeds)
            self.log.events += range(self.log.taken, until)
            self.log.taken = until
        there = range(world.written) if self.log is None else self.log.events
        for number in range(self.next, min(len(there), self.next + delivers)):
            world.stored.append(there[number])
            self.next = world.committed[self.sender, self.place] = number + 1

    def close(self, successor):
        leaves = bool(successor) and home.place(CHANNELS[successor]) != self.place
        if leaves:
            self.move(feeds=0, delivers=10**6)
        self.world.step()
        if self.log is None:
            self.world.saved_position = self.next
        else:
            self.world.saved_position, self.log.cursor = self.log.taken, self.next
        self.world.step()


class Process:
    """One life of the node."""

    def __init__(self, world):
        self.world = world
        last = world.lasting
        self.core = NodeCore(last.good, last.revision, last.begun)
        self.pending, self.runs, self.opened, self.number, self.now_ns = [], None, False, 0, 0

    def handle(self, event):
        self.now_ns += 1
        self.pending += self.core.handle(event, self.now_ns)

    def tell(self, text):
        statements = [Assigned("web", "f", text, statement_hash(text))] if text else []
        told = assign(statements)
        self.handle(m.Told(told.revision, told.statements))

    def settle(self, waits=0):
        while self.pending:
            self.world.step()
            self.perform(self.pending.pop(0), waits)
            self.world.written += 1
            if self.runs is not None and self.opened:
                self.runs.move()

    def perform(self, command, waits):
        match command:
            case m.Check():
                self.handle(m.Checked(command.logical, command.number))
            case m.Amend():
                self.handle(m.Amended(command.logical, command.number, False))
            case m.Open(logical, number, text):
                assert self.runs is None, "two owners of one state directory"
                self.runs, self.number, self.opened = Runs(self.world, text), number, False
                if text == BROKEN:
                    self.runs = None
                    self.handle(m.Ended(logical, number, "its database is away"))
                    return
                self.opened = True
                self.handle(m.Opened(logical, number))
            case m.Close(logical, successor):
                self.runs.close(successor)
                self.runs = None
                self.handle(m.Ended(logical, self.number))
            case m.Save():
                self.world.step()
                self.world.lasting = self.core.lasting()
            case m.Wait() if waits:
                self.handle(m.TimeOver(command.logical, command.number))


def live(world, texts):
    """One life, in which it is told these, one after the other."""
    process = Process(world)
    for text in texts:
        world.told = text
        process.tell(text)
        process.settle()
    return process


def live_until_killed(world, texts, kill_at):
    """As far as it comes."""
    world.kill_at = kill_at
    with contextlib.suppress(KilledError):
        live(world, texts)
    world.kill_at = -1


def live_on(world, text):
    """A life that is not cut short: everything that the application wrote is stored."""
    process = live(world, [text])
    assert process.runs is not None, "it runs what it should, or what it ran before"
    process.runs.move(10**6, 10**6)
    assert world.stored == list(range(world.written))


def steps_of(directory):
    world = World(directory)
    live(world, HISTORY)
    return world.steps


@pytest.mark.parametrize("after", ["same", "file", "none"])
def test_every_event_is_stored_once_in_order_though_the_node_is_killed_at_any_step(tmp_path, after):
    (tmp_path / "whole").mkdir()
    for kill_at in range(steps_of(tmp_path / "whole")):
        (tmp_path / str(kill_at)).mkdir()
        world = World(tmp_path / str(kill_at))
        live_until_killed(world, HISTORY, kill_at)
        others = {"same": world.told, "file": "larger", "none": "none"}
        live_on(world, others[after])


@pytest.mark.parametrize("texts", list(itertools.permutations(["none", "file", "sql"], 2)))
def test_every_event_is_stored_once_though_the_node_is_killed_twice(tmp_path, texts):
    for first, second in itertools.product(range(0, 24, 2), range(12)):
        directory = tmp_path / f"{first}-{second}"
        directory.mkdir()
        world = World(directory)
        live_until_killed(world, texts, first)
        live_until_killed(world, texts[:1], world.steps + second)
        live_on(world, texts[1])
