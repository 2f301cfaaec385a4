"""The faults of the store in memory; what it does without them is in the contract suite."""

from __future__ import annotations

import asyncio

import pytest

from qanat.coordination.store import Create, Node, Session, SessionState
from qanat.errors import NotConnectedError, OutcomeUnknownError
from qanat.testing.store import MemoryStore


def test_lost_reply_leaves_the_multi_applied(run):
    async def scenario():
        store = MemoryStore()
        store.lose_replies()
        with pytest.raises(OutcomeUnknownError):
            await store.multi([Create("/a", b"1")])
        assert await store.get("/a") == Node(b"1", 0)
        await store.multi([Create("/b", b"")])

    run(scenario())


def test_lost_request_leaves_the_multi_undone(run):
    async def scenario():
        store = MemoryStore()
        store.lose_requests()
        with pytest.raises(OutcomeUnknownError):
            await store.multi([Create("/a", b"1")])
        assert await store.get("/a") is None
        await store.multi([Create("/a", b"2")])

    run(scenario())


def test_cut_client_does_nothing_until_restored_while_others_go_on(run):
    async def scenario():
        cut = MemoryStore()
        other = MemoryStore(cut.tree)
        cut.cut()
        with pytest.raises(NotConnectedError):
            await cut.multi([Create("/a", b"1")])
        await other.multi([Create("/a", b"2")])
        cut.restore()
        assert await cut.get("/a") == Node(b"2", 0)

    run(scenario())


def test_session_that_expires_while_cut_off_is_known_to_be_lost_only_when_restored(run):
    async def scenario():
        store = MemoryStore()
        other = MemoryStore(store.tree)
        await store.multi([Create("/me", b"", ephemeral=True)])
        first = store.session
        store.cut()
        store.expire()
        assert store.session == Session(SessionState.SUSPENDED, first.id)
        assert await other.get("/me") is None
        store.restore()
        assert store.session.state is SessionState.CONNECTED
        assert store.session.id != first.id

    run(scenario())


def test_session_survives_a_cut_that_is_short(run):
    async def scenario():
        store = MemoryStore()
        await store.multi([Create("/me", b"", ephemeral=True)])
        first = store.session
        store.cut()
        store.restore()
        assert store.session == first
        assert await store.get("/me") == Node(b"", 0, first.id)

    run(scenario())


def test_watch_says_nothing_while_cut_off_and_makes_up_for_it(run):
    async def scenario():
        store = MemoryStore()
        other = MemoryStore(store.tree)
        watch = store.watch("/a")
        await anext(watch)
        store.cut()
        await other.multi([Create("/a", b"")])
        told = asyncio.ensure_future(anext(watch))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not told.done()
        store.restore()
        await told
        await watch.aclose()

    run(scenario())
