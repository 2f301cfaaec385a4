"""A physical node that is told again and again, while what it was told before is still being done."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from qanat.control.assignment import Assigned, assign, statement_hash
from qanat.control.last_good import LastGood
from qanat.control.physical import PhysicalNode
from qanat.control.sampling import TapPoints
from qanat.errors import RetryableError
from qanat.wire.v1 import control_pb2 as wire


def text_of(logical, number):
    return f'{logical} : tail("/{number}") | agentE2ESink("c{number}", 1) ;'


def told(**numbers):
    statements = [
        Assigned(logical, "f", text_of(logical, number), statement_hash(text_of(logical, number)))
        for logical, number in numbers.items()
    ]
    assignment = assign(statements)
    return wire.Assign(
        revision=assignment.revision,
        statements=[
            wire.Statement(logical=each.logical, flow=each.flow, text=each.text, hash=each.hash)
            for each in assignment.statements
        ],
    )


class ScriptedProgram:
    """Each check, opening and draining takes as long as chance says; some fail at first."""

    role = "agent"

    def __init__(self, chance):
        self.chance = chance
        self.taps = TapPoints()
        self.running = {}
        self.gate = threading.Event()  # checks wait for it
        self.gate.set()
        self.checked = threading.Semaphore(0)  # one more with each check that has begun
        self.failures = 0
        self.hurried: list[str] = []

    def check(self, node):
        self.checked.release()
        self.gate.wait(10)
        time.sleep(self.chance.choice((0.0, 0.0, 0.003)))

    def build(self, node):
        return ScriptedRunning(self, node)

    def counters(self, logical):
        return wire.Counters()


class ScriptedRunning:
    trouble = ""
    delivers_to = ()
    is_over = False

    def __init__(self, program, node):
        self.program, self.node = program, node
        self.stopped = asyncio.Event()

    async def run(self, opened):
        name, where = self.node.name, self.node.source.positional[0].value
        assert name not in self.program.running, "two owners of one state directory"
        self.program.running[name] = where
        try:
            await asyncio.sleep(self.program.chance.choice((0.0, 0.001)))
            if self.program.failures and self.program.chance.random() < 0.2:
                self.program.failures -= 1
                raise RetryableError("not now")
            opened("")
            await self.stopped.wait()
            await asyncio.sleep(self.program.chance.choice((0.0, 0.001)))
        finally:
            del self.program.running[name]

    def amend(self, node):
        return False

    def retry_soon(self):
        self.program.hurried.append(self.node.name)

    def stop(self, successor):
        self.stopped.set()


def play(scenario, directory, seed=0):
    async def limited():
        chance = random.Random(seed)
        program = ScriptedProgram(chance)
        node = PhysicalNode(program, LastGood(directory), lambda: None, lambda addresses: None)
        running = asyncio.create_task(node.run())
        try:
            async with asyncio.timeout(30):
                await scenario(node, program, chance)
                node.stop()
                await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(limited())


async def until(condition):
    while not condition():  # noqa: ASYNC110  # what it looks at has no event
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("seed", range(40))
def test_node_that_is_told_again_and_again_runs_what_it_was_told_last(seed, tmp_path, monkeypatch):
    monkeypatch.setattr("qanat.control.physical.RETRY_S_MAX", 0.01)

    async def scenario(node, program, chance):
        program.failures = 3
        for _ in range(30):
            names = chance.sample("abc", chance.randint(1, 3))
            node.told(told(**{name: chance.randrange(3) for name in names}))
            for _ in range(chance.choice((0, 1, 2, 3, 8))):
                await asyncio.sleep(chance.choice((0.0, 0.0, 0.001)))
        final = told(a=1, c=2)
        node.told(final)
        await until(lambda: node.core.applied_revision == final.revision)
        assert program.running == {"a": "/1", "c": "/2"}

    play(scenario, tmp_path, seed)


def test_statement_that_is_given_up_before_it_was_built_is_followed_by_the_next(tmp_path):
    """Two checks end together, so that the second has to be read again; and then it is not wanted any more."""

    async def scenario(node, program, chance):
        program.gate.clear()
        node.told(told(a=0))
        node.told(told(a=1))
        for _ in range(2):
            await asyncio.to_thread(program.checked.acquire)
        program.gate.set()
        await until(lambda: "a" in node._runs)  # it is about to be built
        final = told(a=2)
        node.told(final)
        await until(lambda: node.core.applied_revision == final.revision)

    play(scenario, tmp_path)


def test_node_that_is_stopped_while_it_reads_what_ran_last_ends(tmp_path):
    async def scenario(node, program, chance):
        node.told(told(a=0))
        await until(lambda: node.core.is_applied)

    play(scenario, tmp_path)

    async def again(node, program, chance):
        program.gate.clear()
        node.told(told(a=1))
        await asyncio.to_thread(program.checked.acquire)
        asyncio.get_running_loop().call_later(0.2, program.gate.set)

    play(again, tmp_path)


def test_whatever_masters_say_is_a_reason_to_try_again_soon(tmp_path):
    async def scenario(node, program, chance):
        node.told(told(a=0))
        await until(lambda: node.core.is_applied)
        assert program.hurried == []
        node.told(told(a=0, b=0))
        assert program.hurried == ["a"]

    play(scenario, tmp_path)
