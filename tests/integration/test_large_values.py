"""Values larger than a request, on a real ensemble: what a collector with ten thousand open files commits."""

from __future__ import annotations

import asyncio

import pytest

from qanat.coordination import parts
from qanat.coordination.large import LargeValues
from qanat.coordination.open import open_store
from qanat.coordination.store import Check, Conflict, Create, Node, Set
from qanat.coordination.zookeeper_store import ZookeeperStore
from qanat.coordination.zookeeper_url import parse_url
from qanat.errors import NotConnectedError, OutcomeUnknownError

TOKEN = bytes(range(256)) * 12_000  # 3 MB
ROUNDS = 2  # servers with a small heap remember them all
REQUEST_BYTES = 50_000  # so that values need not be megabytes to be in parts


# Of module scope, so that servers are started before a test counts its children.
@pytest.fixture(scope="module")
def ensemble(zookeeper):
    return zookeeper


def test_token_of_three_megabytes_is_committed_again_and_again(ensemble, run):
    async def scenario():
        collector, other = (open_store(ensemble.url("/large")) for _ in range(2))
        try:
            await collector.multi([Create("/fence", b""), Create("/commit", TOKEN)])
            for version in range(ROUNDS):
                value = TOKEN + b"%d" % version
                await collector.multi([Check("/fence", 0), Set("/commit", value, version)])
                await other.sync("/commit")
                assert await other.get("/commit") == Node(value, version + 1)
            stored = await other.children(parts.fence_path("/commit"))
            assert len(stored) == -(-len(value) // parts.PART_BYTES_MAX)
            with pytest.raises(Conflict) as caught:
                await other.multi([Check("/fence", 0), Set("/commit", TOKEN, 0)])
            assert (caught.value.index, caught.value.path) == (1, "/commit")
        finally:
            await collector.close()
            await other.close()

    run(scenario())


def test_readers_see_whole_values_while_writers_compete(ensemble, run):
    values = {TOKEN[: 100_000 + number * 10_000] + b"%d" % number for number in range(10)}

    def opened():
        return LargeValues(ZookeeperStore(parse_url(ensemble.url("/busy"))), request_bytes_max=REQUEST_BYTES)

    async def write(store):
        for value in values:
            node = await store.get("/busy")
            try:
                await store.multi([Set("/busy", value, node.version)])
            except (Conflict, NotConnectedError, OutcomeUnknownError):
                continue

    async def read(store, done):
        seen = -1
        while not done.is_set():
            node = await store.get("/busy")
            assert node.value in values | {b""}
            assert node.version >= seen
            seen = node.version
        return seen

    async def scenario():
        stores = [opened() for _ in range(3)]
        done = asyncio.Event()
        try:
            await stores[0].multi([Create("/busy", b"")])
            reader = asyncio.create_task(read(stores[2], done))
            await asyncio.gather(*(write(store) for store in stores[:2]))
            done.set()
            assert await reader > 0
        finally:
            for store in stores:
                await store.close()

    run(scenario())
