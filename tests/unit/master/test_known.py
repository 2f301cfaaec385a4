"""Of several processes of one name the latest stays, whichever masters they attach to, and however often."""

from __future__ import annotations

import asyncio
import random

import pytest

from master import known
from master.known import Arrival, KnownNodes
from master.nodes import Nodes
from qanat.control.documents import KnownNode
from qanat.control.translation import Physical
from qanat.testing.store import MemoryStore, Tree
from qanat.wire.v1 import control_pb2 as wire

NODE = Physical("a1", "agent", "host")


def arrival(instance, start=0):
    return Arrival(NODE, instance, start)


def stored(instance, start):
    return KnownNode("agent", "host", {}, 7, instance, start)


@pytest.mark.parametrize(
    ("before", "arrives", "after"),
    [
        (None, arrival("p"), stored("p", 1)),
        (None, arrival("p", 5), stored("p", 5)),  # it was purged
        (stored("p", 3), arrival("p"), stored("p", 3)),  # it has not heard of its number
        (stored("p", 3), arrival("p", 3), stored("p", 3)),
        (stored("p", 3), arrival("q"), stored("q", 4)),
        (stored("p", 3), arrival("q", 2), stored("p", 3)),  # an earlier one comes back
        (stored("p", 3), arrival("q", 3), stored("q", 4)),
        (stored("", 0), arrival("q"), stored("q", 1)),  # from before processes were numbered
    ],
)
def test_store_knows_the_latest_process_of_a_name(before, arrives, after):
    assert arrives.seen(before, 7) == after


@pytest.mark.parametrize(("before", "after"), [(None, ("p", 1)), ("q", ("q", 1))])
def test_node_that_left_before_it_was_written_is_remembered_unless_another_came(
    before, after, run, monkeypatch
):
    monkeypatch.setattr(known, "BATCH_S", 0.01)

    async def scenario():
        tree = Tree()

        async def come(instance, is_here):
            nodes = KnownNodes(MemoryStore(tree), lambda: 7)
            nodes.is_here = lambda name, instance: is_here
            settled = asyncio.Event()
            nodes.settled = lambda name, found: settled.set()
            writing = asyncio.create_task(nodes.run())
            nodes.look_up(arrival(instance))
            await settled.wait()
            writing.cancel()
            return (await nodes.all())["a1"]

        if before is not None:
            await come(before, is_here=True)
        found = await come("p", is_here=False)
        assert (found.instance, found.start) == after

    run(scenario())


class Master:
    """Attached nodes, and what this master knows of them; `others` hear of processes that were replaced."""

    def __init__(self, tree, masters, number):
        self.nodes = Nodes()
        hours = number * 3600 * 10**9  # clocks of masters need not agree
        self.known = KnownNodes(MemoryStore(tree), lambda: 10**18 + hours)
        self.known.settled, self.known.is_here = self.nodes.settled, self.nodes.has

        async def replaced(names):
            for master in masters:
                if master is not self:
                    master.look(names)

        self.known.replaced = replaced

    def look(self, names):
        for node in filter(None, map(self.nodes.get, names)):
            self.known.look_up(Arrival(node.physical, node.instance, node.start))


class Process:
    """A node's process, and what it was told."""

    def __init__(self, instance):
        self.instance = instance
        self.start = 0
        self.master = self.attached = None
        self.is_fenced = self.came = False

    def attach(self, master):
        self.came = True
        self.hear()
        if self.is_fenced:
            return
        register = wire.Register(name="a1", role="agent", instance=self.instance, start=self.start)
        if self.attached is not None:
            self.master.nodes.detach(self.attached)
        self.attached = None
        refused = master.nodes.refusal(register)
        if refused is not None:
            self.is_fenced = refused.fenced
            return
        self.master, self.attached = master, master.nodes.attach(register)
        master.look(["a1"])

    def hear(self):
        if self.attached is not None:
            for message in self.attached.outbox._waiting.values():
                self.is_fenced |= message.refused.fenced
                self.start = message.heard.start or self.start


@pytest.mark.parametrize("seed", range(60))
def test_one_of_several_processes_stays_wherever_they_attach(seed, run, monkeypatch):
    monkeypatch.setattr(known, "BATCH_S", 0.001)
    chance = random.Random(seed)

    async def scenario():
        tree, masters = Tree(), []
        masters += [Master(tree, masters, number) for number in range(3)]
        running = [asyncio.create_task(master.known.run()) for master in masters]
        processes = [Process(f"p{number}") for number in range(chance.randint(1, 4))]
        try:
            for _ in range(20):
                chance.choice(processes).attach(chance.choice(masters))
                if chance.random() < 0.5:
                    await asyncio.sleep(chance.choice((0.0, 0.003)))
            for _ in range(3):
                for process in processes:  # who was refused tries again
                    if process.came and process.attached is None:
                        process.attach(masters[0])
                await asyncio.sleep(0.02)
                for master in masters:
                    master.look(["a1"])
            await asyncio.sleep(0.02)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        for process in processes:
            process.hear()
        stay = [each for each in processes if each.attached is not None and not each.is_fenced]
        assert len(stay) == 1, [vars(each) for each in processes]

    run(scenario())
