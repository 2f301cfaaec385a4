"""What every coordination store does with nodes; see `conftest.py` for which there are."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.coordination.request import request_bytes
from qanat.coordination.store import (
    Check,
    Conflict,
    Create,
    Delete,
    Node,
    Op,
    Set,
    Store,
)
from qanat.errors import NotConnectedError, PermanentError
from qanat.testing.store import MemoryStore

# Clients that change one node at the same time, and how often each does.
CLIENTS, ROUNDS = 4, 15


async def refused(store: Store, *ops: Op) -> Conflict:
    with pytest.raises(Conflict) as caught:
        await store.multi(ops)
    return caught.value


def test_get_is_none_when_the_node_does_not_exist(client, run):
    async def scenario():
        async with client() as store:
            assert await store.get("/a") is None
            assert await store.children("/a") == []
            assert await store.get_many([]) == []

    run(scenario())


def test_create_then_get_returns_the_value_with_version_0(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a", b"\0any\xff")])
            assert await store.get("/a") == Node(b"\0any\xff", 0)

    run(scenario())


def test_create_makes_missing_parents_empty(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a/b/c", b"x"), Create("/a/b/d", b"")])
            nodes = await store.get_many(["/a/b/d", "/nope", "/a", "/a/b"])
            assert nodes == [Node(b"", 0), None, Node(b"", 0), Node(b"", 0)]

    run(scenario())


def test_create_makes_many_missing_parents_some_of_which_are_there(client, run):
    """A change of seventy new logical nodes has a directory of history for each."""
    names = [f"/h/{number}/1" for number in range(70)]
    others = [Create(f"/i/{number}/1", b"") for number in range(30)]

    async def scenario():
        async with client() as store:
            await store.multi([Create(f"/h/{number}", b"") for number in range(0, 70, 7)])
            await store.multi([Create(name, b"v") for name in names])
            assert await store.get_many(names) == [Node(b"v", 0)] * 70
            with pytest.raises(Conflict) as caught:
                await store.multi([*others, Create(names[0], b"v")])
            assert (caught.value.index, caught.value.path) == (30, names[0])
            assert await store.children("/i") == []

    run(scenario())


def test_create_conflicts_when_the_node_exists(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a/b", b"1")])
            conflict = await refused(store, Create("/c", b""), Create("/a/b", b"2"))
            assert (conflict.index, conflict.path) == (1, "/a/b")
            assert await store.get_many(["/a/b", "/c"]) == [Node(b"1", 0), None]

    run(scenario())


def test_set_grows_the_version_by_1(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a", b"0")])
            for version in range(3):
                await store.multi([Set("/a", b"new", version)])
            assert await store.get("/a") == Node(b"new", 3)

    run(scenario())


@pytest.mark.parametrize("kind", ["set", "check", "delete"])
@pytest.mark.parametrize(("path", "version"), [("/a", 0), ("/a", 2), ("/b", 0)])
def test_operation_conflicts_when_the_version_differs(client, run, kind, path, version):
    ops = {"set": Set(path, b"x", version), "check": Check(path, version), "delete": Delete(path, version)}

    async def scenario():
        async with client() as store:
            await store.multi([Create("/a", b"0")])
            await store.multi([Set("/a", b"1", 0)])
            conflict = await refused(store, Create("/new", b""), ops[kind])
            assert (conflict.index, conflict.path) == (1, path)
            assert await store.get_many(["/a", "/new"]) == [Node(b"1", 1), None]

    run(scenario())


def test_delete_refuses_a_node_with_children(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a/b", b"")])
            assert (await refused(store, Delete("/a", 0))).path == "/a"
            await store.multi([Delete("/a/b", 0), Delete("/a", 0)])
            assert await store.get("/a") is None
            assert await store.children("/") == []

    run(scenario())


def test_node_starts_at_version_0_again_when_created_again(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a", b"")])
            await store.multi([Set("/a", b"x", 0)])
            await store.multi([Delete("/a", 1), Create("/a", b"y")])
            assert await store.get("/a") == Node(b"y", 0)

    run(scenario())


def test_multi_sees_its_own_earlier_operations(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a", b"0"), Set("/a", b"1", 0), Check("/a", 1), Set("/a", b"2", 1)])
            assert await store.get("/a") == Node(b"2", 2)
            await store.multi([])

    run(scenario())


def test_children_are_names_sorted_and_direct(client, run):
    async def scenario():
        async with client() as store:
            paths = ["/a/z", "/a/b/deep", "/a/%41", "/a/é", "/ab"]
            await store.multi([Create(path, b"") for path in paths])
            assert await store.children("/a") == ["%41", "b", "z", "é"]
            assert await store.children("/") == ["a", "ab"]

    run(scenario())


def test_largest_request_is_taken_and_a_larger_one_changes_nothing(client, run):
    async def scenario():
        async with client() as store:
            largest = b"x" * (store.request_bytes_max - request_bytes([Create("/a", b"")]))
            await store.multi([Create("/a", largest)])
            with pytest.raises(PermanentError, match=str(store.request_bytes_max)):
                await store.multi([Set("/a", largest + b"x", 0)])
            with pytest.raises(PermanentError, match="Create of /c"):
                await store.multi([Create("/b", b"xy"), Create("/c", largest)])
            assert await store.get_many(["/a", "/b"]) == [Node(largest, 0), None]

    run(scenario())


@pytest.mark.parametrize("path", ["", "a", "/a/", "//a", "/a//b", "/.", "/a/..", "/a\0"])
def test_path_that_no_store_takes_is_a_bug(client, run, path):
    async def scenario():
        async with client() as store:
            with pytest.raises(ValueError):
                await store.get(path)
            with pytest.raises(ValueError):
                await store.multi([Create(path, b"")])

    run(scenario())


def test_negative_version_is_a_bug_and_never_means_any(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/a", b"")])
            with pytest.raises(ValueError):
                await store.multi([Set("/a", b"x", -1)])

    run(scenario())


def test_one_client_sees_what_another_committed(client, run):
    async def scenario():
        async with client() as writer, client() as reader:
            assert await reader.get("/a") is None
            await writer.multi([Create("/a", b"1")])
            await reader.sync("/a")
            assert await reader.get("/a") == Node(b"1", 0)
            await reader.multi([Set("/a", b"2", 0)])
            assert (await refused(writer, Set("/a", b"3", 0))).path == "/a"

    run(scenario())


def test_close_is_idempotent_and_later_calls_are_not_connected(backend, client, run):
    async def scenario():
        store = backend.connect()
        await store.multi([Create("/a", b"1")])
        await store.close()
        await store.close()
        with pytest.raises(NotConnectedError):
            await store.get("/a")
        async with client() as again:
            assert await again.get("/a") == Node(b"1", 0)

    run(scenario())


async def increment(store: Store, path: str) -> None:
    while True:
        node = await store.get(path)
        assert node is not None
        try:
            await store.multi([Set(path, str(int(node.value) + 1).encode(), node.version)])
        except Conflict:
            continue
        return


def test_no_update_is_lost_when_clients_change_one_node(client, run):
    async def count():
        async with client() as store:
            for _ in range(ROUNDS):
                await increment(store, "/counter")

    async def scenario():
        async with client() as store:
            await store.multi([Create("/counter", b"0")])
            await asyncio.gather(*(count() for _ in range(CLIENTS)))
            assert await store.get("/counter") == Node(str(CLIENTS * ROUNDS).encode(), CLIENTS * ROUNDS)

    run(scenario())


def test_clients_that_create_the_same_missing_parents_at_once_all_succeed(client, run):
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(client()) for _ in range(CLIENTS)]
            for number in range(ROUNDS):
                await asyncio.gather(
                    *(
                        store.multi([Create(f"/{number}/b/c/{who}", b""), Create(f"/{number}/d/{who}", b"")])
                        for who, store in enumerate(stores)
                    )
                )
                await stores[0].sync(f"/{number}")
                assert await stores[0].children(f"/{number}/b/c") == [str(who) for who in range(CLIENTS)]

    run(scenario())


def test_clients_that_create_many_of_the_same_missing_parents_at_once_all_succeed(client, run):
    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(client()) for _ in range(CLIENTS)]
            await asyncio.gather(
                *(
                    store.multi([Create(f"/many/{number}/{who}", b"") for number in range(70)])
                    for who, store in enumerate(stores)
                )
            )
            await stores[0].sync("/many")
            assert await stores[0].children("/many/69") == [str(who) for who in range(CLIENTS)]

    run(scenario())


def test_exactly_one_of_many_creators_wins(client, run):
    async def attempt(store: Store, who: int) -> bool:
        try:
            await store.multi([Create("/claim", str(who).encode()), Create(f"/won/{who}", b"")])
        except Conflict:
            return False
        return True

    async def scenario():
        async with contextlib.AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(client()) for _ in range(CLIENTS)]
            won = await asyncio.gather(*(attempt(store, who) for who, store in enumerate(stores)))
            assert won.count(True) == 1
            assert await stores[0].children("/won") == [str(won.index(True))]

    run(scenario())


_PATHS = st.sampled_from(["/a", "/a/b", "/a/b/c", "/d"])
_VERSIONS = st.integers(0, 2)
_OPS = st.one_of(
    st.builds(Create, _PATHS, st.binary(max_size=3)),
    st.builds(Set, _PATHS, st.binary(max_size=3), _VERSIONS),
    st.builds(Check, _PATHS, _VERSIONS),
    st.builds(Delete, _PATHS, _VERSIONS),
)


async def outcome(store: Store, ops: list[Op]) -> object:
    """How a multi ended, and everything that can be read after it."""
    try:
        await store.multi(ops)
        ended: object = "applied"
    except Conflict as conflict:
        ended = (conflict.index, conflict.path)
    nodes = await store.get_many(["/a", "/a/b", "/a/b/c", "/d"])
    return ended, nodes, await store.children("/"), await store.children("/a")


@given(multis=st.lists(st.lists(_OPS, max_size=5), max_size=6))
def test_any_sequence_of_multis_ends_as_in_memory(backend_of, tmp_path_factory, run, multis):
    async def scenario():
        real, model = backend_of(tmp_path_factory.mktemp("store")).connect(), MemoryStore()
        try:
            for ops in multis:
                assert await outcome(real, ops) == await outcome(model, ops)
        finally:
            await real.close()

    run(scenario())
