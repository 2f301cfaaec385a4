"""Changes too large for one request: nobody sees half of one, whoever crashes where, and in whichever order masters get on."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from master import spreading, writing
from master.cache import ConfigCache
from master.planning import Edit, changes, config_ops, mapping_ops
from master.spreading import spread
from master.writing import Writer
from qanat.control import paths
from qanat.coordination import parts
from qanat.coordination.large import LargeValues
from qanat.coordination.store import Set
from qanat.errors import CorruptError, NotConnectedError, OutcomeUnknownError
from qanat.testing.store import MemoryStore, Tree

# A large change has so many logical nodes; two operations fit into a request of those that spread it.
MANY = 6
REQUEST_BYTES = 2000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """What takes megabytes otherwise."""
    monkeypatch.setattr(writing, "DIRECT_BYTES_MAX", 1200)
    monkeypatch.setattr(spreading, "SPREAD_BYTES_MAX", 800)
    monkeypatch.setattr(writing, "_AGAIN_S_MAX", 0.001)


class Stepping:
    """A store before each of whose requests `step` is awaited; it may raise."""

    def __init__(self, tree, step):
        self._memory = MemoryStore(tree, request_bytes_max=REQUEST_BYTES)
        self._step = step
        self.request_bytes_max = REQUEST_BYTES

    async def get(self, path):
        await self._step(None)
        return await self._memory.get(path)

    async def get_many(self, names):
        return [await self.get(path) for path in names]

    async def children(self, path):
        await self._step(None)
        return await self._memory.children(path)

    async def multi(self, ops):
        await self._step(self._memory)
        await self._memory.multi(ops)

    async def sync(self, path):
        await self._step(None)


def master(tree, step):
    store = LargeValues(Stepping(tree, step))
    cache = ConfigCache(store)
    return store, cache, Writer(store, cache)


async def at_once(_):
    """A step that nothing keeps."""


def large(text):
    """A plan that gives `MANY` logical nodes this text, and places as many by hand or takes that back."""

    def plan(snapshot):
        edits = [Edit(f"n{number}", "f", text) for number in range(MANY)]
        placed = () if snapshot.mapping else ("n0",)
        mapping = {f"host{number}": placed for number in range(MANY)}
        return [
            *config_ops(snapshot, changes(snapshot, edits), "me", 7),
            *mapping_ops(snapshot, mapping),
        ]

    return plan


def counting(snapshot):
    """A small plan that can't be done twice, nor lost, without showing: a counter that is counted on."""
    config = snapshot.configs.get("counter")
    text = str(1 + (0 if config is None else int(config.text)))
    return config_ops(snapshot, changes(snapshot, [Edit("counter", "f", text)]), "me", 7)


def texts(snapshot):
    return {config.text for name, config in snapshot.configs.items() if name != "counter"}


def is_whole(snapshot):
    """All of each large change, or nothing."""
    names = [name for name in snapshot.configs if name != "counter"]
    mapped = len(snapshot.mapping)
    return len(names) in (0, MANY) and len(texts(snapshot)) <= 1 and mapped in (0, MANY)


def in_place(tree):
    """Versions of what is configured, as the store has them."""
    return {path: node.version for path, node in tree.items() if path.rpartition("/")[0] in paths.CONFIGURED}


async def check_settled(tree):
    """Another master makes one more change: everything is in its place, and nothing staged."""
    _, cache, writer = master(tree, at_once)
    await writer.write(counting)
    snapshot = await cache.fresh()
    assert is_whole(snapshot)
    assert snapshot.versions == in_place(tree)
    assert not tree.get(paths.STAGED, MemoryStore(Tree()).tree["/"]).value
    for name, config in snapshot.configs.items():
        history = [tree[paths.version_of(name, version)] for version in range(1, config.version + 1)]
        assert history[-1].value == tree[paths.of(paths.CONFIG, name)].value
    return snapshot


def test_large_change_is_staged_and_seen_whole_before_it_is_spread(run):
    async def scenario():
        tree = Tree()
        store, _, writer = master(tree, at_once)
        assert await writer.write(large("1")) == 1
        assert not in_place(tree)
        _, other, _ = master(tree, at_once)
        snapshot = await other.fresh()
        assert (len(snapshot.configs), texts(snapshot), snapshot.is_staged) == (MANY, {"1"}, True)
        await spread(store, other)
        assert not other.snapshot.is_staged
        assert snapshot.versions == in_place(tree) == (await master(tree, at_once)[1].fresh()).versions
        assert await writer.write(large("2")) == 2
        assert texts(await other.fresh()) == {"2"}  # without reading what did not change
        assert texts(await check_settled(tree)) == {"2"}
        assert await store.children(parts.fence_path(paths.STAGED)) == []

    run(scenario())


class Crash(Exception):
    """The master's process is gone: nothing in it catches this."""


@pytest.mark.parametrize("lost", [False, True], ids=["before it is sent", "when it was done"])
@pytest.mark.parametrize("text", ["first", "second"])
def test_master_that_crashes_at_any_step_has_changed_all_or_nothing(run, text, lost):
    """Also while it spreads the change: as the leader does at once."""

    async def until_crash(tree, steps):
        """Whether it came to its end before."""
        left = steps

        async def step(memory):
            nonlocal left
            left -= 1
            if left > 0:
                return
            if left == 0 and lost and memory is not None:
                memory.lose_replies(1)
                return
            raise Crash

        store, cache, writer = master(tree, step)
        with contextlib.suppress(Crash, OutcomeUnknownError):
            await writer.write(large(text))
            await cache.fresh()
            await spread(store, cache)
            return True
        return False

    async def scenario():
        outcomes = set()
        for steps in range(1, 1000):
            tree = Tree()
            if text == "second":
                await master(tree, at_once)[2].write(large("first"))
            before = (await master(tree, at_once)[1].fresh()).revision
            ended = await until_crash(tree, steps)
            found = await master(tree, at_once)[1].fresh()
            assert is_whole(found)
            assert (texts(found) == {text}) == (found.revision == before + 1)
            outcomes.add(found.revision - before)
            assert texts(await check_settled(tree)) == texts(found)
            if ended:
                break
        assert outcomes == {0, 1}
        assert steps > 20, "there were steps to crash at"

    run(scenario())


@pytest.mark.parametrize("seed", range(15))
def test_no_master_sees_half_of_a_change_and_no_update_is_lost_in_whichever_order_they_get_on(run, seed):
    """Two that make large changes, two that count, one that spreads as a leader does, and two that look; replies get lost."""
    order = random.Random(seed)
    waiting: list[asyncio.Future[None]] = []
    at_revision: dict[int, object] = {}

    async def turn(memory):
        mine = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        await mine
        if memory is not None and order.random() < 0.05:
            (memory.lose_replies if order.random() < 0.5 else memory.lose_requests)(1)

    def look_at(snapshot):
        assert is_whole(snapshot)
        seen = (snapshot.configs, snapshot.mapping, snapshot.versions)
        assert at_revision.setdefault(snapshot.revision, seen) == seen

    async def write(tree, plans):
        _, cache, writer = master(tree, turn)
        for plan in plans:
            while True:
                with contextlib.suppress(NotConnectedError):  # nothing was done: a part was not stored
                    await writer.write(plan)
                    break
            look_at(cache.snapshot)

    async def watch(tree, leads):
        store, cache, _ = master(tree, turn)
        while True:
            look_at(await cache.fresh())
            if leads and cache.snapshot.is_staged:
                with contextlib.suppress(OutcomeUnknownError, NotConnectedError):
                    await spread(store, cache)

    async def scenario():
        tree = Tree()
        writers = [
            asyncio.create_task(write(tree, plans))
            for plans in (
                [large("a"), large("b"), large("c")],
                [large("x"), large("y")],
                [counting] * 6,
                [counting] * 6,
            )
        ]
        others = [asyncio.create_task(watch(tree, leads)) for leads in (True, False, False)]
        while not all(task.done() for task in writers):
            await asyncio.sleep(0)
            if waiting:
                waiting.pop(order.randrange(len(waiting))).set_result(None)
            for task in others:
                assert not task.done(), task.exception()
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for task in writers:
            await task
        snapshot = await check_settled(tree)
        assert snapshot.configs["counter"].text == "13"
        assert {config.version for name, config in snapshot.configs.items() if name != "counter"} == {5}
        assert snapshot.revision == 5 + 13

    run(scenario())


def test_what_somebody_changed_by_hand_is_an_error_that_names_it(run):
    async def scenario():
        tree = Tree()
        _, _, writer = master(tree, at_once)
        await writer.write(large("1"))
        await writer.write(large("2"))
        hand = MemoryStore(tree)
        store, cache, _ = master(tree, at_once)
        await cache.fresh()
        path = paths.of(paths.CONFIG, "n5")
        tree.become({name: node for name, node in tree.items() if name != path})
        with pytest.raises(CorruptError, match=rf"{path} in the coordination store is not as it was"):
            await spread(store, cache)
        staged = tree[paths.STAGED]
        await hand.multi([Set(paths.STAGED, b"", staged.version)])
        await writer.write(counting)

    run(scenario())
