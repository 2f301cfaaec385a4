"""Changes of the configuration that are too large for one request, over every coordination store."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from master import spreading, writing
from master.cache import ConfigCache
from master.planning import Edit, changes, config_ops
from master.spreading import spread
from master.writing import Writer
from qanat.control import paths
from qanat.coordination.large import LargeValues
from qanat.errors import RetryableError

MANY = 120


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Twenty requests to spread a change of 120 statements."""
    monkeypatch.setattr(writing, "DIRECT_BYTES_MAX", 8_000)
    monkeypatch.setattr(spreading, "SPREAD_BYTES_MAX", 6_000)


def large(text, name="n"):
    edits = [Edit(f"{name}{number}", "f", text) for number in range(MANY)]
    return lambda snapshot: config_ops(snapshot, changes(snapshot, edits), "me", 7)


async def certainly(do):
    """Again while nothing was done: servers on a busy machine may be away for a moment."""
    while True:
        with contextlib.suppress(RetryableError):
            return await do()


def texts(snapshot):
    found = [config.text for config in snapshot.configs.values()]
    return {text: found.count(text) for text in found}


def test_large_change_is_whole_for_others_though_its_master_dies_while_it_spreads_it(client, run):
    async def scenario():
        async with client() as first, client() as second:
            mine, other = LargeValues(first), LargeValues(second)
            cache, others = ConfigCache(mine), ConfigCache(other)
            writer = Writer(mine, cache)
            assert [await writer.write(large(text)) for text in ("1", "2")] == [1, 2]
            assert texts(await others.fresh()) == {"2": MANY}

            # A few requests, and it is gone.
            original, sent = first.multi, 0

            async def multi(ops):
                nonlocal sent
                sent += 1
                if sent > 3:
                    raise asyncio.CancelledError
                await original(ops)

            first.multi = multi
            await cache.fresh()
            with contextlib.suppress(asyncio.CancelledError):
                await spread(mine, cache)
            assert sent == 4
            assert texts(await ConfigCache(other).fresh()) == {"2": MANY}

            assert await Writer(other, others).write(large("3", "m")) == 3
            await spread(other, others)
            settled = await ConfigCache(other).fresh()
            assert (texts(settled), settled.is_staged) == ({"2": MANY, "3": MANY}, False)
            names = sorted(settled.versions)
            assert [node.version for node in await other.get_many(names)] == [
                settled.versions[name] for name in names
            ]
            assert await other.children(paths.of(paths.HISTORY, "n7")) == ["0000000001", "0000000002"]

    run(scenario())


def test_masters_that_make_and_spread_large_changes_at_once_lose_none(client, run):
    async def write(store, number):
        store = LargeValues(store)
        cache = ConfigCache(store)
        for turn in range(2):
            await certainly(
                lambda turn=turn: Writer(store, cache).write(large(f"{number}-{turn}", f"{number}-"))
            )
            await certainly(lambda: spread(store, cache))

    async def scenario():
        async with client() as one, client() as two, client() as three:
            await asyncio.gather(*(write(store, number) for number, store in enumerate((one, two, three))))
            snapshot = await ConfigCache(LargeValues(three)).fresh()
            assert texts(snapshot) == {f"{number}-1": MANY for number in range(3)}
            assert {config.version for config in snapshot.configs.values()} == {2}
            assert snapshot.revision == 6

    run(scenario())
