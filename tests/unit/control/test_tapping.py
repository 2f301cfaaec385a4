"""The taps of a node: begun, passed on, and ended by whatever ends them."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from qanat.batch import lines_batch
from qanat.clock import ManualClock
from qanat.control import tapping
from qanat.control.sampling import Sampler, TapPoints
from qanat.control.tapping import TAPS_MAX, Tapping
from qanat.wire.v1 import control_pb2 as wire


class Master:
    """Hears samples."""

    def __init__(self):
        self.session, self.takes, self.asked = 1, True, 0
        self.heard = []
        self.ended = asyncio.Event()

    @property
    def has_room(self):
        self.asked += 1
        return self.takes

    def say(self, message):
        self.heard.append(message.tap)
        if message.tap.ended:
            self.ended.set()

    @property
    def bodies(self):
        return [event.body for sample in self.heard for event in sample.events]


class Node:
    """One that runs `web`, and passes lines."""

    def __init__(self):
        self.master, self.points, self.runs = Master(), TapPoints(), {"web"}
        self.tapping = Tapping(self.points, lambda name: name in self.runs, self.master)

    def begin(self, tap_id="t", logical="web", events_max=100, seconds=60.0, contains=b""):
        tap = wire.Tap(
            tap_id=tap_id, logical=logical, events_max=events_max, seconds=seconds, contains=contains
        )
        self.tapping.begin(tap)

    async def tapped(self):
        while self.points.at("web").sample is None:  # noqa: ASYNC110  # it is a thread's, and has no event
            await asyncio.sleep(0)

    def passes(self, payload=b"one\ntwo\n"):
        sample = self.points.at("web").sample
        if sample is not None:
            sample(lines_batch("s", 0, payload, timestamp_ns=0, attributes={"file": "f"}))

    async def ends(self):
        """Gives why."""
        async with asyncio.timeout(60):
            await self.master.ended.wait()
        assert self.points.at("web").sample is None
        return self.master.heard[-1].why


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(tapping, "FLUSH_S", 0.01)

    def run(scenario):
        async def whole():
            node = Node()
            try:
                await scenario(node)
            finally:
                await node.tapping.close()
            assert node.points.at("web").sample is None

        asyncio.run(whole())

    return run


def test_tap_ends_after_so_many_events(run):
    async def scenario(node):
        node.begin(events_max=3)
        await node.tapped()
        node.passes()
        node.passes()
        assert await node.ends() == "3 events were sampled"
        assert node.master.bodies == [b"one", b"two", b"one"]
        assert dict(node.master.heard[0].events[0].attributes) == {"file": "f"}

    run(scenario)


def test_tap_ends_in_time_though_nothing_passes(run):
    async def scenario(node):
        node.begin(seconds=0.05)
        assert await node.ends() == "the time is over"

    run(scenario)


def test_tap_ends_when_it_is_told_to_without_a_word(run):
    async def scenario(node):
        node.begin()
        await node.tapped()
        node.tapping.stop("t")
        node.tapping.stop("other")
        while node.points.at("web").sample is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert node.master.heard == []

    run(scenario)


def test_tap_ends_with_the_connection_of_the_master_that_asked(run):
    async def scenario(node):
        node.begin()
        await node.tapped()
        node.master.session = 2
        async with asyncio.timeout(60):
            while node.points.at("web").sample is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert node.master.heard == []

    run(scenario)


def test_tap_ends_with_the_logical_node(run):
    async def scenario(node):
        node.begin()
        await node.tapped()
        node.runs.clear()
        assert await node.ends() == "web was removed from this node"

    run(scenario)


def test_tap_of_what_does_not_run_here_ends_at_once(run):
    async def scenario(node):
        node.begin(logical="other")
        assert await node.ends() == "other does not run here"

    run(scenario)


def test_taps_of_a_node_are_limited(run):
    async def scenario(node):
        for number in range(TAPS_MAX + 1):
            node.begin(tap_id=str(number))
        async with asyncio.timeout(60):
            await node.master.ended.wait()
        assert [each.tap_id for each in node.master.heard] == [str(TAPS_MAX)]

    run(scenario)


def test_samples_wait_while_the_master_takes_nothing_and_are_dropped_when_too_many(run, monkeypatch):
    # However long the batches take to pass, it is the same second.
    monkeypatch.setattr(tapping, "Sampler", partial(Sampler, clock=ManualClock()))

    async def scenario(node):
        node.begin(events_max=50)
        node.master.takes = False
        await node.tapped()
        for _ in range(30):
            node.passes(b"x\n" * 100)
        asked = node.master.asked
        async with asyncio.timeout(60):
            while node.master.asked < asked + 3:  # noqa: ASYNC110  # looks have no event
                await asyncio.sleep(0.01)
        assert node.master.heard == []
        node.master.takes = True
        assert await node.ends() == "50 events were sampled"
        assert node.master.heard[0].dropped == 30 * 100 - 100  # what a second allows was taken

    run(scenario)


def test_defect_in_sampling_is_said(run):
    async def scenario(node):
        node.begin()
        await node.tapped()
        node.points.at("web").sample("no batch")
        assert "could not be taken" in await node.ends()

    run(scenario)
