"""What every coordination store does with sessions, ephemeral nodes and watches; see `conftest.py` for which there are."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from qanat.coordination.store import Conflict, Create, Delete, Node, SessionState, Set
from qanat.errors import NotConnectedError

# Longer than anything here takes: a wait costs nothing when what it waits for comes early.
WAIT_S_MAX = 30.0


async def connected(store, *, after=0):
    """The session, once it is connected, and another than `after`."""
    async with asyncio.timeout(WAIT_S_MAX), contextlib.aclosing(store.session_changes()) as sessions:
        async for session in sessions:
            if session.state is SessionState.CONNECTED and session.id != after:
                return session
    raise AssertionError("the store was closed")


async def seen(store, path, wanted):
    """Wait until the node at `path` is as `wanted(node)` says."""
    async with asyncio.timeout(WAIT_S_MAX), contextlib.aclosing(store.watch(path)) as changes:
        async for _ in changes:
            node = await store.get(path)
            if wanted(node):
                return node
    raise AssertionError("the store was closed")


class Watching:
    """A watch, and the next thing that it says."""

    def __init__(self, store, path):
        self.changes = store.watch(path)

    async def __aenter__(self):
        await self.next()
        return self

    async def __aexit__(self, *_):
        await self.changes.aclose()

    async def next(self):
        async with asyncio.timeout(WAIT_S_MAX):
            await anext(self.changes)


def test_session_is_connected_with_an_id_of_its_own(client, run):
    async def scenario():
        async with client() as one, client() as other:
            ids = {(await connected(one)).id, (await connected(other)).id, 0}
            assert len(ids) == 3
            assert one.session == await connected(one)

    run(scenario())


def test_ephemeral_node_names_its_session_and_ends_with_it(client, run):
    async def scenario():
        async with client() as reader:
            async with client() as owner:
                await owner.multi([Create("/live/me", b"here", ephemeral=True), Create("/stays", b"")])
                session = await connected(owner)
                await reader.sync("/live/me")
                assert await reader.get("/live/me") == Node(b"here", 0, session.id)
                await reader.multi([Set("/live/me", b"there", 0)])
                await owner.sync("/live/me")
                assert await owner.get("/live/me") == Node(b"there", 1, session.id)
            await seen(reader, "/live/me", lambda node: node is None)
            assert await reader.get_many(["/live", "/stays"]) == [Node(b"", 0), Node(b"", 0)]

    run(scenario())


def test_ephemeral_node_has_no_children(client, run):
    async def scenario():
        async with client() as store:
            await store.multi([Create("/me", b"", ephemeral=True)])
            with pytest.raises(Conflict) as caught:
                await store.multi([Create("/new", b""), Create("/me/child", b"")])
            assert (caught.value.index, caught.value.path) == (1, "/me/child")
            assert await store.children("/") == ["me"]

    run(scenario())


def test_ephemeral_node_can_be_replaced_by_another_client_in_one_step(client, run):
    async def scenario():
        async with client() as one, client() as other:
            await one.multi([Create("/me", b"1", ephemeral=True)])
            await other.sync("/me")
            await other.multi([Delete("/me", 0), Create("/me", b"2", ephemeral=True)])
            assert await other.get("/me") == Node(b"2", 0, (await connected(other)).id)

    run(scenario())


def test_expired_session_takes_its_nodes_and_is_followed_by_another(backend, client, run):
    async def scenario():
        async with client() as store, client() as reader:
            await store.multi([Create("/me", b"", ephemeral=True), Create("/stays", b"0")])
            first = await connected(store)
            await backend.expire(store)
            second = await connected(store, after=first.id)
            assert second.id != first.id
            await seen(reader, "/me", lambda node: node is None)
            await store.multi([Create("/me", b"", ephemeral=True), Set("/stays", b"1", 0)])
            await seen(reader, "/me", lambda node: node is not None and node.owner == second.id)

    run(scenario())


def test_watch_tells_of_each_kind_of_change(client, run):
    async def scenario():
        async with client() as store, client() as other, Watching(store, "/a") as watching:

            async def told(op):
                await other.multi([op])
                await watching.next()
                await store.sync("/a")

            await told(Create("/a", b"0"))
            assert await store.get("/a") == Node(b"0", 0)
            await told(Set("/a", b"1", 0))
            assert await store.get("/a") == Node(b"1", 1)
            await told(Create("/a/b", b""))
            assert await store.children("/a") == ["b"]
            await told(Delete("/a/b", 0))
            await told(Delete("/a", 1))
            assert await store.get("/a") is None
            await told(Create("/a/b/c", b""))
            assert await store.children("/a") == ["b"]

    run(scenario())


def test_watch_tells_of_the_clients_own_changes(client, run):
    async def scenario():
        async with client() as store, Watching(store, "/a") as watching:
            await store.multi([Create("/a", b"")])
            await watching.next()

    run(scenario())


def test_watch_loses_no_change_that_is_made_while_its_user_works(client, run):
    async def scenario():
        async with client() as store, client() as other, Watching(store, "/a") as watching:
            await other.multi([Create("/a", b"0")])
            for version in range(5):
                await other.multi([Set("/a", b"", version)])
            node = None
            while node is None or node.version < 5:
                await watching.next()
                node = await store.get("/a")

    run(scenario())


def test_watch_tells_after_another_session(backend, client, run):
    async def scenario():
        async with client() as store, Watching(store, "/a") as watching:
            first = await connected(store)
            await backend.expire(store)
            await connected(store, after=first.id)
            await watching.next()

    run(scenario())


def test_watch_of_one_path_is_quiet_while_others_change(client, run):
    async def scenario():
        async with client() as store, Watching(store, "/quiet") as quiet, Watching(store, "/loud") as loud:
            with contextlib.suppress(TimeoutError):  # what was there before may be reported once more
                async with asyncio.timeout(0.3):
                    await anext(quiet.changes)
            quiet = Watching(store, "/quiet")
            async with quiet:
                await store.multi([Create("/loud", b"0")])
                for version in range(5):
                    await loud.next()
                    await store.multi([Set("/loud", b"", version)])
                said = asyncio.ensure_future(anext(quiet.changes))
                await loud.next()
                assert not said.done()
                said.cancel()
                await asyncio.gather(said, return_exceptions=True)

    run(scenario())


def test_iterators_end_when_the_store_is_closed(backend, run):
    async def scenario():
        store = backend.connect()
        watch, sessions = store.watch("/a"), store.session_changes()
        await anext(watch)
        await anext(sessions)

        async def rest(iterator):
            return [each async for each in iterator]

        ends = [asyncio.ensure_future(rest(iterator)) for iterator in (watch, sessions)]
        await asyncio.sleep(0)
        await store.close()
        async with asyncio.timeout(WAIT_S_MAX):
            await asyncio.gather(*ends)
        assert store.session.state is SessionState.LOST
        with pytest.raises(NotConnectedError):
            await store.multi([Create("/a", b"", ephemeral=True)])

    run(scenario())
