"""Registrations and elections over every coordination store; see `conftest.py` for which there are."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from qanat.coordination.election import Election
from qanat.coordination.registration import Registration
from qanat.coordination.store import Check, Conflict, Create, Delete
from qanat.errors import FencedError, NotConnectedError
from tests.contract.test_store_sessions import WAIT_S_MAX, connected, seen


@contextlib.asynccontextmanager
async def registered(store, path, value):
    registration = Registration(store, path, value)
    task = asyncio.create_task(registration.run())
    try:
        await seen(store, path, lambda node: node is not None and node.value == value)
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def stands(registration):
    async with asyncio.timeout(WAIT_S_MAX):
        while not registration.stands:  # noqa: ASYNC110  # a poll of a property is what is tested
            await asyncio.sleep(0.01)


async def answered(store, ops):
    """The multi, once the store has a session to make it in."""
    while True:
        try:
            return await store.multi(ops)
        except NotConnectedError:
            await asyncio.sleep(0.05)


def test_registration_stands_again_after_an_expired_session(backend, client, run):
    async def scenario():
        async with client() as store, client() as reader:
            registration = Registration(store, "/live/c1", b"c1:1")
            task = asyncio.create_task(registration.run())
            await stands(registration)
            first = store.session.id
            await backend.expire(store)
            await connected(store, after=first)
            await stands(registration)
            await seen(reader, "/live/c1", lambda node: node is not None and node.owner == store.session.id)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(scenario())


def test_registration_is_made_again_when_somebody_deletes_it(client, run):
    async def scenario():
        async with client() as store, client() as other, registered(store, "/live/c1", b""):
            await other.sync("/live/c1")
            await other.multi([Delete("/live/c1", 0), Create("/deleted", b"")])
            await seen(other, "/live/c1", lambda node: node is not None)

    run(scenario())


def test_later_registration_wins_without_a_gap_and_the_earlier_is_told(client, run):
    async def scenario():
        async with client() as one, client() as other, client() as reader:
            names = []

            async def look():
                async with contextlib.aclosing(reader.watch("/live")) as changes:
                    async for _ in changes:
                        names.append(await reader.children("/live"))

            async with registered(one, "/live/c1", b"earlier") as earlier:
                await seen(reader, "/live/c1", lambda node: node is not None)
                looking = asyncio.create_task(look())
                async with registered(other, "/live/c1", b"later") as later:
                    with pytest.raises(FencedError, match="later"):
                        async with asyncio.timeout(WAIT_S_MAX):
                            await earlier
                    assert not later.done()
                    looking.cancel()
                    await asyncio.gather(looking, return_exceptions=True)
            assert all(each == ["c1"] for each in names)

    run(scenario())


def test_registrations_show_who_is_alive(client, run):
    async def scenario():
        async with client() as master, contextlib.AsyncExitStack() as stack:
            for number in range(3):
                store = await stack.enter_async_context(client())
                await stack.enter_async_context(registered(store, f"/live/c{number}", b""))
            await master.sync("/live")
            assert await master.children("/live") == ["c0", "c1", "c2"]
            await store.close()  # the last one dies
            await seen(master, "/live/c2", lambda node: node is None)
            assert await master.children("/live") == ["c0", "c1"]

    run(scenario())


def test_one_candidate_leads_and_another_follows_with_a_larger_epoch(client, run):
    async def scenario():
        async with client() as one, client() as other:
            first, second = Election(one, "/election", "m 1"), Election(other, "/election", "m 2")
            async with asyncio.timeout(WAIT_S_MAX):
                epoch = await first.lead()
                assert await first.lead() == epoch  # still
                waiting = asyncio.create_task(second.lead())
                assert await first.leader() == "m 1"
                assert not waiting.done()
                await first.resign()
                await first.lost()
                later = await waiting
            assert later > epoch
            assert await second.leader() == "m 2"

    run(scenario())


def test_leader_whose_session_expired_is_told_and_can_write_nothing(backend, client, run):
    async def scenario():
        async with client() as one, client() as other:
            first, second = Election(one, "/election", "m1"), Election(other, "/election", "m2")
            async with asyncio.timeout(WAIT_S_MAX):
                epoch = await first.lead()
                await one.multi([Check(first.epoch_path, epoch), Create("/by-leader", b"")])
                lost = asyncio.create_task(first.lost())
                waiting = asyncio.create_task(second.lead())
                await asyncio.sleep(0)
                await backend.expire(one)
                await lost
                later = await waiting
                with pytest.raises(Conflict):
                    await answered(one, [Check(first.epoch_path, epoch), Create("/too-late", b"")])
                await other.multi([Check(second.epoch_path, later), Create("/by-successor", b"")])

    run(scenario())


def test_every_epoch_has_one_leader_however_many_stand_for_it(client, run):
    led = {}

    async def stand(number):
        async with client() as store:
            election = Election(store, "/election", f"m{number}")
            for _ in range(2):
                epoch = await election.lead()
                assert led.setdefault(epoch, number) == number
                await election.resign()

    async def scenario():
        async with asyncio.timeout(WAIT_S_MAX):
            await asyncio.gather(*(stand(number) for number in range(4)))
        assert len(led) == 8

    run(scenario())
