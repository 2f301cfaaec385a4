"""Shares that are dealt to an agent, called back, lost, and taken over by another."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import dealt
from agent.channelled import Channelled
from agent.dealer import Dealer, DealtSource, Share, Table, dealer_of
from agent.dealt import Dealt
from agent.delivery import Delivery
from agent.fan_in import FanIn
from agent.managed import AgentProgram
from agent.program import Agent
from agent.summed import Summed
from qanat.component import Source
from qanat.errors import FencedError
from qanat.flow.parser import parse
from qanat.metrics import Metrics
from tests.unit.agent.scripted import Streams, context

ONE, TWO = Share("kafka/1", "t [1]", 1), Share("kafka/2", "t [2]", 2)


class Hands(Dealer):
    """Does what a test says, on the dealer's thread."""

    def __init__(self) -> None:
        self.orders: queue.Queue[Callable[[Table], None]] = queue.Queue()
        self.log: list[str] = []

    def open(self) -> None:
        self.log.append("open")

    def turn(self, table: Table) -> None:
        try:
            self.orders.get(timeout=0.01)(table)
        except queue.Empty:
            return

    def source(self, share: Share) -> Source:
        return Streams(context(Path()), {})

    def close(self) -> None:
        self.log.append("close")

    def give(self, *shares: Share) -> None:
        self.orders.put(lambda table: table.give(shares))

    def take(self, *shares: Share, is_lost: bool = False) -> None:
        def take(table: Table) -> None:
            table.take(shares, is_lost=is_lost)
            self.log.append("taken")

        self.orders.put(take)


class Delivering:
    """In the place of a delivery: runs until stopped and `drained`, or `fenced`."""

    def __init__(self, share: Share, chain: tuple[str, ...]) -> None:
        self.share, self.chain = share, chain
        self.stopped, self.drained, self.fenced = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.state = "new"

    async def run(self) -> None:
        self.state = "runs"
        try:
            waits = [asyncio.ensure_future(each.wait()) for each in (self.drained, self.fenced)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            self.state = "ended"
        except asyncio.CancelledError:
            self.state = "cancelled"
            raise
        finally:
            for each in waits:
                each.cancel()
        if self.fenced.is_set():
            raise FencedError("another process")

    def stop(self, *, release: bool) -> None:
        assert release
        self.stopped.set()


class Game:
    def __init__(self) -> None:
        self.hands = Hands()
        self.made: list[Any] = []
        self.dealt = Dealt(self.hands, self._deliver, ("c1",), "web")

    def _deliver(self, share: Share, source: Source, chain: tuple[str, ...]) -> Any:
        self.made.append(Delivering(share, chain))
        return self.made[-1]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  # of threads and fakes, without an event
                await asyncio.sleep(0.005)

    async def given(self, *shares: Share) -> list[Any]:
        """Their deliveries, which run."""
        before = len(self.made)
        self.hands.give(*shares)
        await self.until(lambda: [each.state for each in self.made[before:]] == ["runs"] * len(shares))
        return self.made[before:]

    async def end(self, running: asyncio.Task[None]) -> None:
        self.dealt.stop()
        for each in self.made:
            each.drained.set()
        await running
        assert self.hands.log[-1] == "close"


def test_share_that_is_called_back_is_drained_before_the_next_owner_has_it(run):
    async def scenario() -> None:
        game = Game()
        running = asyncio.create_task(game.dealt.run())
        one, two = await game.given(ONE, TWO)
        game.hands.take(ONE)
        await game.until(one.stopped.is_set)
        assert "taken" not in game.hands.log
        assert len(game.dealt.deliveries) == 2
        one.drained.set()
        await game.until(lambda: "taken" in game.hands.log)
        assert (one.state, two.state, two.stopped.is_set()) == ("ended", "runs", False)
        assert [each.share for each in game.dealt.deliveries] == [TWO]
        await game.end(running)

    run(scenario())


def test_share_that_does_not_drain_is_let_go_all_the_same(run, monkeypatch):
    monkeypatch.setattr(dealt, "DRAIN_S_MAX", 0.05)

    async def scenario() -> None:
        game = Game()
        running = asyncio.create_task(game.dealt.run())
        (one,) = await game.given(ONE)
        game.hands.take(ONE)
        await game.until(lambda: "taken" in game.hands.log)
        assert one.state == "cancelled"
        (again,) = await game.given(ONE)
        assert again is not one
        await game.end(running)

    run(scenario())


def test_lost_share_is_dropped_without_draining(run):
    async def scenario() -> None:
        game = Game()
        running = asyncio.create_task(game.dealt.run())
        (one,) = await game.given(ONE)
        game.hands.take(ONE, is_lost=True)
        await game.until(lambda: "taken" in game.hands.log)
        assert (one.state, one.stopped.is_set()) == ("cancelled", False)
        await game.end(running)

    run(scenario())


def test_share_that_another_took_over_is_tried_again_while_it_is_ours_and_the_others_go_on(run, monkeypatch):
    monkeypatch.setattr(dealt, "TAKEN_S", 0.0)
    monkeypatch.setattr(dealt, "TAKEN_S_MAX", 0.01)

    async def scenario() -> None:
        game = Game()
        running = asyncio.create_task(game.dealt.run())
        one, two = await game.given(ONE, TWO)
        game.dealt.chain = ("c2",)
        one.fenced.set()
        await game.until(lambda: len(game.made) == 3 and game.made[2].state == "runs")
        assert (game.made[2].share, game.made[2].chain) == (ONE, ("c2",))
        assert two.state == "runs"
        await game.end(running)

    run(scenario())


def test_share_that_another_took_over_is_not_tried_again_when_it_was_lost(run):
    async def scenario() -> None:
        game = Game()
        running = asyncio.create_task(game.dealt.run())
        (one,) = await game.given(ONE)
        one.fenced.set()
        await game.until(lambda: not game.dealt.deliveries)
        game.hands.take(ONE, is_lost=True)
        await game.until(lambda: "taken" in game.hands.log)
        await game.end(running)
        assert len(game.made) == 1

    run(scenario())


def test_agent_whose_place_in_the_group_is_taken_stops_with_all_its_shares(run):
    async def scenario() -> None:
        game = Game()
        running = asyncio.create_task(game.dealt.run())
        (one,) = await game.given(ONE)

        def fenced(table: Table) -> None:
            raise FencedError("a later process")

        game.hands.orders.put(fenced)
        with pytest.raises(BaseExceptionGroup) as raised:
            await running
        assert raised.group_contains(FencedError)
        assert (one.state, game.hands.log[-1]) == ("cancelled", "close")

    run(scenario())


class Shared(DealtSource, Streams):
    hands: Hands | None = None

    def dealer(self) -> Dealer | None:
        return self.hands


def test_source_is_dealt_out_unless_something_is_in_the_way_and_then_people_are_told(tmp_path, capsys):
    source = Shared(context(tmp_path), {})
    assert dealer_of(source, "", "web") is None
    source.hands = Hands()
    assert dealer_of(source, "", "web") is source.hands
    assert dealer_of(Streams(context(tmp_path), {}), "", "web") is None
    assert "group_not_joined" not in capsys.readouterr().out
    assert dealer_of(source, "a channel", "web") is None
    assert dealer_of(FanIn([source, source], context(tmp_path)), "", "web") is None
    assert capsys.readouterr().out.count("group_not_joined") == 2


def test_measures_of_shares_are_summed_and_those_that_ended_do_not_count():
    metrics = Metrics()
    summed = Summed(metrics, "web")
    one, two = summed.of("one"), summed.of("two")
    one.lag_bytes(10)
    two.lag_bytes(5)
    one.unacked_age_s(3)
    two.unacked_age_s(7)
    text = metrics.render().decode()
    assert 'qanat_lag_bytes{logical_node="web"} 15.0' in text
    assert 'qanat_unacked_age_seconds{logical_node="web"} 7.0' in text
    two.idle()
    text = metrics.render().decode()
    assert 'qanat_lag_bytes{logical_node="web"} 10.0' in text
    assert 'qanat_unacked_age_seconds{logical_node="web"} 3.0' in text


def built(tmp_path: Path, text: str) -> Any:
    """What an agent runs for a statement."""
    program = AgentProgram(Agent("a1", tmp_path, Metrics()))
    return program.build(parse(text).nodes[0])


@pytest.mark.parametrize(
    ("source", "sink", "parts"),
    [
        ('kafka("k:9092", "t")', 'agentE2ESink("c1")', [Dealt]),
        ('kafka("k:9092", "t")', '[ agentE2ESink("c1"), agentE2ESink("c2") ]', [Dealt, Dealt]),
        ('kafka("k:9092", "t", partitions="0-3")', 'agentE2ESink("c1")', [Delivery]),
        ('kafka("k:9092", "t", member="1/2")', 'agentE2ESink("c1")', [Delivery]),
        ('kafka("k:9092", "t")', 'agentBESink("c1")', [Channelled]),
        ('[ kafka("k:9092", "t"), kafka("k:9092", "u") ]', 'agentE2ESink("c1")', [Delivery]),
    ],
)
def test_topic_is_dealt_out_where_nothing_stands_between_it_and_the_collector(tmp_path, source, sink, parts):
    assert [type(part) for part in built(tmp_path, f"web : {source} | {sink} ;")._parts] == parts


def test_further_destination_is_a_group_of_its_own_that_has_all_of_the_topic(tmp_path):
    sinks = '[ agentE2ESink("c1"), agentE2ESink("c2") ]'
    parts = built(tmp_path, f'web : kafka("k:9092", "t", group="g") | {sinks} ;')._parts
    assert [part._dealer._of.group for part in parts] == ["g", "g#1"]
    assert len({part._dealer._of.member for part in parts}) == 2


def test_other_chain_is_for_what_is_dealt_from_now_on_without_a_new_pipeline(tmp_path):
    text = 'web : kafka("k:9092", "t") | agentE2EChain({}) ;'
    running = built(tmp_path, text.format('"c1", "c2"'))
    assert running.amend(parse(text.format('"c2", "c3"')).nodes[0])
    assert running._parts[0].chain == ("c2:35853", "c3:35853")
    assert not running.amend(parse(text.replace('"t"', '"u"').format('"c2", "c3"')).nodes[0])
