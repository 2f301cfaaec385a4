"""The faults of the store in memory; what it does without them is in the contract suite."""

from __future__ import annotations

import pytest

from qanat.coordination.store import Create, Node
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
