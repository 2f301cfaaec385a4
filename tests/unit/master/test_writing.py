"""Changes of the configuration under a store that loses, refuses and delays."""

from __future__ import annotations

import asyncio

import pytest

from master import writing
from master.cache import ConfigCache
from master.planning import Edit, changes, check_expected, config_ops
from master.writing import Writer
from qanat.control.operations.errors import Kind, OperationError
from qanat.coordination.large import LargeValues
from qanat.coordination.store import VALUE_BYTES_MAX
from qanat.coordination.zookeeper_store import REQUEST_BYTES_MAX
from qanat.errors import NotConnectedError, OutcomeUnknownError, PermanentError, RetryableError
from qanat.testing.store import MemoryStore, Tree
from qanat.wire.v1 import control_pb2 as wire


def client(tree, store=None):
    store = store or MemoryStore(tree)
    cache = ConfigCache(store)
    return store, cache, Writer(store, cache)


def setting(logical, text):
    """A plan that gives a logical node this text."""
    return lambda snapshot: config_ops(snapshot, changes(snapshot, [Edit(logical, "f", text)]), "me", 7)


def test_kinds_of_errors_are_those_of_the_wire():
    assert {kind.name: kind.value for kind in Kind} == {
        name: value for name, value in wire.ErrorKind.items() if value
    }


def test_every_change_makes_one_revision_and_its_history(run):
    async def scenario():
        _, cache, writer = client(Tree())
        assert [await writer.write(setting("a", text)) for text in ("1", "2", "2")] == [1, 2, 2]
        assert (cache.snapshot.configs["a"].version, cache.snapshot.revision) == (2, 2)

    run(scenario())


@pytest.mark.parametrize("lost", [1, 3])
def test_change_whose_reply_was_lost_is_found_by_its_token(run, lost):
    async def scenario():
        store, _, writer = client(Tree())
        await writer.write(setting("a", "1"))
        store.lose_replies(lost)
        revisions = [await writer.write(setting("a", str(number))) for number in range(2, 2 + lost)]
        assert revisions == list(range(2, 2 + lost))

    run(scenario())


def test_change_whose_request_was_lost_is_sent_again(run):
    async def scenario():
        store, _, writer = client(Tree())
        store.lose_requests(1)
        assert await writer.write(setting("a", "1")) == 1

    run(scenario())


def test_nothing_is_in_doubt_when_the_store_was_not_reached(run):
    async def scenario():
        store, _, writer = client(Tree())
        store.cut()
        with pytest.raises(NotConnectedError, match="nothing was changed"):
            await writer.write(setting("a", "1"))

    run(scenario())


def test_doubt_is_said_when_the_store_goes_away_before_it_is_settled(run, monkeypatch):
    monkeypatch.setattr(writing, "WRITE_S_MAX", 0.2)

    async def scenario():
        store, _, writer = client(Tree())
        await writer.write(setting("a", "1"))

        async def multi(ops):
            store.cut()
            raise OutcomeUnknownError("no reply")

        monkeypatch.setattr(store, "multi", multi)
        with pytest.raises(OutcomeUnknownError, match="not known whether"):
            await writer.write(setting("a", "2"))

    run(scenario())


def test_writers_of_two_masters_at_once_lose_nothing(run):
    async def scenario():
        tree = Tree()
        writers = [client(tree)[2] for _ in range(3)]

        async def keep_writing(number):
            for turn in range(20):
                await writers[number].write(setting(f"n{number}-{turn}", "x"))
                await asyncio.sleep(0)

        await asyncio.gather(*map(keep_writing, range(3)))
        _, cache, _ = client(tree)
        snapshot = await cache.fresh()
        assert (len(snapshot.configs), snapshot.revision) == (60, 60)

    run(scenario())


def test_store_that_never_takes_a_change_is_an_error_in_the_end(run, monkeypatch):
    monkeypatch.setattr(writing, "WRITE_S_MAX", 0.2)

    async def scenario():
        tree = Tree()
        _, _, writer = client(tree)
        other = client(tree)[2]
        turn = 0

        async def interfere():
            nonlocal turn
            turn += 1
            await other.write(setting("a", str(turn)))

        original = writer._store.multi

        async def multi(ops):
            await interfere()
            await original(ops)

        monkeypatch.setattr(writer._store, "multi", multi)
        with pytest.raises(RetryableError, match=r"nothing was changed within"):
            await writer.write(setting("b", "1"))

    run(scenario())


def test_expected_version_names_who_changed_it(run):
    async def scenario():
        _, cache, writer = client(Tree())
        await writer.write(setting("a", "1"))
        snapshot = await cache.fresh()
        check_expected(snapshot, {"a": 1, "b": 0})
        with pytest.raises(OperationError, match="a was expected at version 0 and is at 1, by me: 1"):
            check_expected(snapshot, {"a": 0})

    run(scenario())


def test_refusal_of_thousands_of_versions_names_a_few(run):
    async def scenario():
        _, cache, writer = client(Tree())
        await writer.write(statements(1000))
        with pytest.raises(OperationError, match=r"web-00009 was .*; and 990 more\. Look") as caught:
            check_expected(await cache.fresh(), {f"web-{number:05}": 7 for number in range(1000)})
        assert "web-00010" not in str(caught.value)

    run(scenario())


def statements(count, text="x" * 100):
    """A plan that configures so many, of a hundred characters each."""
    edits = [Edit(f"web-{number:05}", "f", text) for number in range(count)]
    return lambda snapshot: config_ops(snapshot, changes(snapshot, edits), "somebody@some-host", 10**18)


def test_change_that_is_many_times_what_the_store_takes_in_a_request_is_made_in_one_step(run):
    """With the limit of ZooKeeper."""

    async def scenario():
        tree = Tree()
        small = LargeValues(MemoryStore(tree, request_bytes_max=REQUEST_BYTES_MAX))
        _, cache, writer = client(tree, small)
        assert await writer.write(statements(3000)) == 1
        assert len((await cache.fresh()).configs) == 3000
        assert await writer.write(statements(1, "y")) == 2  # after the first was put into its places
        snapshot = await client(tree)[1].fresh()
        assert (len(snapshot.configs), snapshot.is_staged) == (3000, False)

    run(scenario())


def test_change_that_is_too_large_all_the_same_is_refused_whole_and_says_what_to_do(run, monkeypatch):
    monkeypatch.setattr(writing, "pack", lambda revision, ops: b"x" * (VALUE_BYTES_MAX + 1))

    async def scenario():
        _, cache, writer = client(Tree())
        with pytest.raises(
            PermanentError, match=r"3000 statements.* nothing was changed\. Apply it in parts"
        ):
            await writer.write(statements(3000))
        assert (await cache.fresh()).configs == {}

    run(scenario())
