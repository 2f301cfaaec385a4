"""What a master answers from while its store is away."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from master import desk as module
from master.cache import Snapshot
from master.desk import Desk
from qanat.coordination.store import SessionState
from qanat.errors import RetryableError


class Cache:
    """Of a store that answers when it is told to."""

    def __init__(self, *, is_loaded: bool) -> None:
        self.is_loaded = is_loaded
        self.snapshot = Snapshot(revision=7)
        self.asked = asyncio.Event()
        self.failed = asyncio.Event()

    async def fresh(self) -> Snapshot:
        self.asked.set()
        await self.failed.wait()
        raise RetryableError("no connection")


def desk(cache: Cache, state: SessionState) -> Desk:
    made = cast(Any, Desk.__new__(Desk))
    made.cache, made.store = cache, SimpleNamespace(session=SimpleNamespace(state=state))
    return cast(Desk, made)


def test_store_that_is_away_already_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(60):
            found = await desk(Cache(is_loaded=True), SessionState.SUSPENDED).snapshot()
        assert found.revision == 7

    monkeypatch.setattr(module, "RECONNECT_S", 0.01)
    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("state", "is_loaded"), [(SessionState.CONNECTED, True), (SessionState.SUSPENDED, False)]
)
def test_store_that_may_answer_is_waited_for(
    state: SessionState, is_loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        cache = Cache(is_loaded=is_loaded)
        asking = asyncio.create_task(desk(cache, state).snapshot())
        await cache.asked.wait()
        await asyncio.sleep(0.1)
        assert not asking.done()
        cache.failed.set()
        if is_loaded:
            assert (await asking).revision == 7
        else:
            with pytest.raises(RetryableError):
                await asking

    monkeypatch.setattr(module, "RECONNECT_S", 0.01)
    asyncio.run(scenario())
