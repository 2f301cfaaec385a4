"""Values that are stored apart: what is written, what is read, what is left, with every request late, lost or refused."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.coordination import parts
from qanat.coordination.large import LargeValues
from qanat.coordination.request import request_bytes
from qanat.coordination.store import VALUE_BYTES_MAX, Check, Conflict, Create, Delete, Node, Op, Set
from qanat.errors import CorruptError, NotConnectedError, OutcomeUnknownError, PermanentError
from qanat.testing.store import MemoryStore, Tree

LIMIT = 1_000
PATHS = ("/a", "/b")
ACTORS, ROUNDS = 3, 12  # clients of one run, and what each of them does
LATE_STEPS_MAX = 60  # how long a late request is on its way, in turns of the event loop
LARGE = bytes(range(256)) * 20


class Counting(MemoryStore):
    """Refuses requests over the limit and counts the rest; checks after each that what is referred to is there."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree)
        self.requests: list[list[Op]] = []
        self.reads: list[str] = []

    async def get(self, path):
        self.reads.append(path)
        return await super().get(path)

    async def children(self, path):
        self.reads.append(path)
        return await super().children(path)

    async def multi(self, ops):
        assert request_bytes(ops) <= LIMIT, [type(op).__name__ for op in ops]
        self.requests.append(list(ops))
        await super().multi(ops)
        check_live_parts(self.tree)


class Unreliable(Counting):
    """A client whose calls take their time, and whose multis may be refused, lost, applied late, or not answered."""

    def __init__(self, tree: Tree, chance: random.Random, late: set[asyncio.Task[None]]) -> None:
        super().__init__(tree)
        self.chance = chance
        self.healthy = False
        self._late = late

    async def get(self, path):
        await self._turn()
        return await super().get(path)

    async def children(self, path):
        await self._turn()
        return await super().children(path)

    async def multi(self, ops):
        await self._turn()
        fate = (
            "normal"
            if self.healthy
            else self.chance.choice(["normal"] * 6 + ["away", "lost", "unanswered", "late"])
        )
        if fate == "away":
            raise NotConnectedError("away on purpose")
        if fate == "late":
            task = asyncio.create_task(self._apply_late(ops))
            self._late.add(task)
        if fate in ("normal", "unanswered"):
            await super().multi(ops)
        if fate != "normal":
            raise OutcomeUnknownError(f"{fate} on purpose")
        await self._turn()

    async def _apply_late(self, ops):
        for _ in range(self.chance.randrange(LATE_STEPS_MAX)):
            await asyncio.sleep(0)
        with contextlib.suppress(Conflict):
            await super().multi(ops)

    async def _turn(self):
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)


def check_live_parts(tree):
    """The whole guarantee on the tree itself: every value that is referred to is there, complete and unchanged."""
    for path in PATHS:
        if (node := tree.get(path)) is None:
            continue
        value = parts.parse(node.value, path)
        if isinstance(value, parts.Reference):
            value.join([tree[part].value for part in value.paths(path)], path)


def parts_of(tree, path):
    """Stored parts of a path, and those that its value refers to."""
    stored = {name for name in tree if name.startswith(parts.fence_path(path) + "/")}
    value = parts.parse(tree[path].value, path) if path in tree else b""
    return stored, set(value.paths(path)) if isinstance(value, parts.Reference) else set()


def opened(tree=None):
    raw = Counting(tree if tree is not None else Tree())
    return LargeValues(raw, request_bytes_max=LIMIT), raw


def test_small_values_are_stored_as_they_are_in_one_request(run):
    async def scenario():
        store, raw = opened()
        await store.multi([Create("/a", b"small"), Create("/b", b"")])
        await store.multi([Set("/a", b"other", 0), Check("/b", 0)])
        assert await store.get_many(PATHS) == [Node(b"other", 1), Node(b"", 0)]
        assert raw.tree["/a"] == Node(b"other", 1)
        assert raw.requests == [
            [Create("/a", b"small"), Create("/b", b"")],
            [Set("/a", b"other", 0), Check("/b", 0)],
        ]
        assert raw.reads == ["/a", "/b"]

    run(scenario())


@pytest.mark.parametrize("tail", [b"", b"\x00", b"\x01", b"\x02any"])
@pytest.mark.parametrize("size", [0, 4 * LIMIT])
def test_value_that_looks_like_a_reference_is_not_taken_for_one(run, tail, size):
    async def scenario():
        store, _ = opened()
        value = parts.MAGIC + tail + b"x" * size
        await store.multi([Create("/a", value)])
        assert await store.get("/a") == Node(value, 0)

    run(scenario())


def test_large_value_is_read_back_and_its_parts_replace_the_ones_before(run):
    async def scenario():
        store, raw = opened()
        other, _ = opened(raw.tree)
        await store.multi([Create("/a", LARGE)])
        for version in range(5):
            assert await other.get("/a") == Node(LARGE + b"." * version, version)
            await store.multi([Set("/a", LARGE + b"." * (version + 1), version)])
            stored, live = parts_of(raw.tree, "/a")
            assert stored == live
        await store.multi([Set("/a", b"small", 5)])
        assert parts_of(raw.tree, "/a") == (set(), set())
        assert raw.tree["/a"] == Node(b"small", 6)

    run(scenario())


def test_largest_values_are_stored_apart_until_the_request_fits(run):
    async def scenario():
        store, raw = opened()
        await store.multi([Create("/a", b"m" * 300), Create("/b", b"l" * 310)])
        assert parts.fence_path("/a") not in raw.tree
        assert raw.tree["/a"].value == b"m" * 300
        assert await store.get_many(PATHS) == [Node(b"m" * 300, 0), Node(b"l" * 310, 0)]

    run(scenario())


def test_request_that_can_not_be_made_to_fit_changes_nothing(run):
    async def scenario():
        store, raw = opened()
        with pytest.raises(PermanentError, match=r"6 operations .* limit 1000"):
            await store.multi([Create(f"/n{number}", LARGE) for number in range(6)])
        with pytest.raises(PermanentError, match=str(VALUE_BYTES_MAX)):
            await store.multi([Create("/a", b"x" * VALUE_BYTES_MAX)])
        assert raw.requests == []

    run(scenario())


def test_refusal_names_the_operation_of_the_caller_and_leaves_no_parts(run):
    async def scenario():
        store, raw = opened()
        await store.multi([Create("/a", LARGE)])
        await store.multi([Set("/a", LARGE, 0)])
        with pytest.raises(Conflict) as caught:
            await store.multi([Check("/a", 1), Set("/a", LARGE, 0)])
        assert (caught.value.index, caught.value.path) == (1, "/a")
        stored, live = parts_of(raw.tree, "/a")
        assert stored == live

    run(scenario())


def test_attempt_starts_over_when_only_its_fence_has_moved(run):
    async def scenario():
        store, raw = opened()
        await store.multi([Create("/a", LARGE)])
        fence = parts.fence_path("/a")
        await raw.multi([Set(fence, b"", raw.tree[fence].version)])
        await store.multi([Set("/a", LARGE + b"1", 0)])
        assert await store.get("/a") == Node(LARGE + b"1", 1)

    run(scenario())


def test_deleting_a_node_deletes_its_parts(run):
    async def scenario():
        store, raw = opened()
        await store.multi([Create("/a", LARGE)])
        fresh, _ = opened(raw.tree)
        await fresh.multi([Delete("/a", 0)])
        assert parts_of(raw.tree, "/a") == (set(), set())
        await store.multi([Create("/a", LARGE)])
        assert await fresh.get("/a") == Node(LARGE, 0)

    run(scenario())


def test_value_is_unchanged_when_a_part_could_not_be_written(run):
    async def scenario():
        store, raw = opened()
        await store.multi([Create("/a", LARGE)])
        for lose in (raw.lose_replies, raw.lose_requests):
            lose(2)
            with pytest.raises(NotConnectedError):
                await store.multi([Set("/a", LARGE * 2, 0)])
        assert await store.get("/a") == Node(LARGE, 0)
        await store.multi([Set("/a", LARGE * 2, 0)])
        stored, live = parts_of(raw.tree, "/a")
        assert stored == live

    run(scenario())


def test_missing_and_changed_parts_are_errors_when_nobody_replaced_the_node(run):
    async def scenario():
        store, raw = opened()
        await store.multi([Create("/a", LARGE)])
        part = sorted(parts_of(raw.tree, "/a")[1])[0]
        kept = raw.tree[part]
        raw.tree[part] = Node(kept.value[::-1], 0)
        with pytest.raises(CorruptError, match="CRC32C"):
            await store.get("/a")
        del raw.tree[part]
        with pytest.raises(CorruptError, match="missing"):
            await store.get("/a")

    run(scenario())


@pytest.mark.parametrize("after", [Node(LARGE * 2, 1), Node(b"small", 1), None])
def test_node_is_read_again_when_it_was_changed_between_it_and_its_parts(run, after):
    class Interrupted(Counting):
        async def get_many(self, paths):
            if change:
                await writer.multi([change.pop()])
            return await super().get_many(paths)

    change = [Delete("/a", 0) if after is None else Set("/a", after.value, 0)]
    tree = Tree()
    writer, _ = opened(tree)
    reader = LargeValues(Interrupted(tree), request_bytes_max=LIMIT)

    async def scenario():
        await writer.multi([Create("/a", LARGE)])
        assert await reader.get("/a") == after

    run(scenario())


def test_a_value_of_the_largest_size_fits(run):
    async def scenario():
        store = LargeValues(MemoryStore(), request_bytes_max=64 << 10)
        value = b"v" * (VALUE_BYTES_MAX - 1_000)
        await store.multi([Create("/a", value)])
        assert await store.get("/a") == Node(value, 0)

    run(scenario())


class Model:
    """Several clients of one tree, under one seed; what each saw must be something that was written whole."""

    def __init__(self, seed: int, *, deletes: bool) -> None:
        self.chance = random.Random(seed)
        self.deletes = deletes
        self.tree = Tree()
        self.late: set[asyncio.Task[None]] = set()
        self.written: dict[str, set[bytes]] = defaultdict(set)  # all that anybody ever tried, by path
        self.seen: dict[tuple[str, int], bytes] = {}  # without deletes a version has one value
        self.latest: dict[str, int] = {}  # and versions only grow

    async def run(self) -> None:
        clients = [Unreliable(self.tree, self.chance, self.late) for _ in range(ACTORS)]
        await asyncio.gather(*(self._actor(client) for client in clients))
        await asyncio.gather(*self.late)
        check_live_parts(self.tree)
        for client in clients:
            client.healthy = True
        await self._settles(clients[0])

    async def _actor(self, client):
        store = LargeValues(client, request_bytes_max=LIMIT)
        for _ in range(ROUNDS):
            try:
                await self._act(store)
            except (Conflict, NotConnectedError, OutcomeUnknownError):
                continue
            if self.chance.random() < 0.1:  # a crash forgets what a client knows
                store = LargeValues(client, request_bytes_max=LIMIT)

    async def _act(self, store):
        before = dict(self.latest)
        nodes = await store.get_many(PATHS)
        for path, node in zip(PATHS, nodes, strict=True):
            assert self.deletes or before.get(path, -1) <= (-1 if node is None else node.version)
            self._check(path, node)
        ops = [
            self._op(path, node)
            for path, node in zip(PATHS, nodes, strict=True)
            if self.chance.random() < 0.7
        ]
        if self.chance.random() < 0.7:
            await store.multi(ops)
            for op in ops:
                if not self.deletes and isinstance(op, Create | Set):
                    version = parts.replaced_version(op) + 1
                    assert self.seen.setdefault((op.path, version), op.value) == op.value

    def _check(self, path, node):
        if node is not None:
            assert node.value in self.written[path]
            if not self.deletes:
                assert self.seen.setdefault((path, node.version), node.value) == node.value
                self.latest[path] = max(node.version, self.latest.get(path, -1))

    def _op(self, path, node):
        size = self.chance.choice([0, 10, 300, 700, 1_500, 4_000])
        value = self.chance.randbytes(8) + bytes([self.chance.randrange(256)]) * size
        if node is not None and self.deletes and self.chance.random() < 0.5:
            return Delete(path, node.version)
        self.written[path].add(value)
        return Create(path, value) if node is None else Set(path, value, node.version)

    async def _settles(self, client):
        """After trouble, a large write of each path is taken, and leaves nothing but what it refers to. Without deletes:
        a node that was created again has lower versions than the parts of its former life."""
        store = LargeValues(client, request_bytes_max=LIMIT)
        for path in PATHS:
            node = await store.get(path)
            await store.multi([Create(path, LARGE) if node is None else Set(path, LARGE, node.version)])
            stored, live = parts_of(self.tree, path)
            assert live <= stored
            assert self.deletes or stored == live


@given(seed=st.integers(0, 2**32), deletes=st.booleans())
def test_readers_see_whole_values_whatever_becomes_of_the_requests(run, seed, deletes):
    run(Model(seed, deletes=deletes).run())
