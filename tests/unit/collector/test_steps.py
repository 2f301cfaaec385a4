"""A collector that stops waits for a coordination store that answers, and not for one that doesn't."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from collector import steps
from collector.steps import StepPerformer
from qanat.coordination.store import Create, Session, SessionState
from qanat.delivery.steps import Get, Multi, Step, Wait
from qanat.errors import NotConnectedError, OutcomeUnknownError

WAIT_S_MAX = 20.0


class Deaf:
    """A store that answers when it is told to."""

    def __init__(self, state: SessionState) -> None:
        self.session = Session(state, 1)
        self.answer = asyncio.Event()

    async def sync(self, path: str) -> None:
        await self.answer.wait()

    async def get_many(self, paths: Any) -> list[None]:
        await self.answer.wait()
        return [None for _ in paths]

    async def multi(self, ops: Any) -> None:
        await self.answer.wait()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "STOP_S", 0.01)


def perform(step: Step, state: SessionState, then: Callable[[Deaf], None] = lambda store: None) -> Any:
    """The step's result, for a collector that is told to stop while it is under way."""

    async def run() -> Any:
        store = Deaf(state)
        performer = StepPerformer(store, None)  # type: ignore[arg-type]
        under_way = asyncio.create_task(performer.perform(step))
        await asyncio.sleep(0)
        performer.stop()
        await asyncio.wait({under_way}, timeout=0.05)
        then(store)
        return await asyncio.wait_for(under_way, WAIT_S_MAX)

    return asyncio.run(run())


@pytest.mark.parametrize("state", [SessionState.SUSPENDED, SessionState.LOST])
def test_reading_from_a_store_that_is_away_ends_soon_after_the_stop(state: SessionState) -> None:
    with pytest.raises(NotConnectedError, match="the collector stops"):
        perform(Get(("/a",), fresh=True), state)


def test_what_a_store_that_is_away_was_told_last_may_have_been_done() -> None:
    with pytest.raises(OutcomeUnknownError, match="may have been applied"):
        perform(Multi((Create("/a", b""),)), SessionState.SUSPENDED)


def test_a_slow_store_that_is_there_is_waited_for() -> None:
    found = perform(Get(("/a",), fresh=True), SessionState.CONNECTED, lambda store: store.answer.set())
    assert found == [None]


def test_a_store_that_turns_out_to_be_away_is_waited_for_no_longer() -> None:
    def lose(store: Deaf) -> None:
        store.session = Session(SessionState.SUSPENDED, 1)

    with pytest.raises(NotConnectedError):
        perform(Get(("/a",)), SessionState.CONNECTED, lose)


def test_pauses_between_attempts_are_short_for_who_stops() -> None:
    async def run() -> float:
        performer = StepPerformer(Deaf(SessionState.LOST), None)  # type: ignore[arg-type]
        performer.stop()
        return performer._pause_s(Wait(60.0, 9))

    assert asyncio.run(run()) <= steps.STOP_RETRY_S
