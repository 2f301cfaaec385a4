"""The store on a real ensemble whose servers are killed and paused, and whose sessions end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import uuid

import pytest

from qanat.coordination.open import open_store
from qanat.coordination.registration import Registration
from qanat.coordination.store import Check, Conflict, Create, Node, SessionState, Set
from qanat.coordination.zookeeper_store import ZookeeperStore
from qanat.coordination.zookeeper_url import parse_url
from qanat.errors import NotConnectedError, OutcomeUnknownError
from qanat.testing.zookeeper import Ensemble
from tests.integration.tcp_proxy import proxied

# An ensemble that lost its leader on two loaded cores needs seconds; nobody waits when it is faster.
WAIT_S_MAX = 45.0
SESSION_S = 4.0

# Calls wait for a connection for a session's time, and then as long for the reply.
CALL_S_MAX = 2 * SESSION_S + 2.0


@pytest.fixture
def ensemble(zookeeper_installed, tmp_path):
    """Three servers to break."""
    with Ensemble(tmp_path / "zookeeper") as ensemble:
        yield ensemble


@pytest.fixture
def alone(zookeeper_installed, tmp_path):
    """One server, not started."""
    ensemble = Ensemble(tmp_path / "zookeeper", size=1)
    yield ensemble
    ensemble.close()


@contextlib.asynccontextmanager
async def opened(ensemble, prefix=""):
    store = ZookeeperStore(parse_url(ensemble.url(prefix, options=f"session_timeout={SESSION_S:g}s")))
    try:
        yield store
    finally:
        await store.close()


async def until(store, wanted):
    """Wait for a session as `wanted(session)` says."""
    async with asyncio.timeout(WAIT_S_MAX), contextlib.aclosing(store.session_changes()) as sessions:
        async for session in sessions:
            if wanted(session):
                return session
    raise AssertionError("the store was closed")


def is_connected(session):
    return session.state is SessionState.CONNECTED


class Counting:
    """Commits in a row, as a collector makes them: each a compare-and-set and one node, which says which attempt did it.

    Who gets no reply reads, and finds its attempt done or not."""

    def __init__(self, store):
        self._store = store
        self.version = 0
        self.done = []
        self.unknown = self.refused = 0

    async def begin(self):
        await self.answered(lambda: self._store.multi([Create("/fence", b""), Create("/record", b"0")]))

    async def step(self):
        attempt = f"{self.version}-{self.unknown}-{self.refused}"
        try:
            await self._store.multi(
                [
                    Check("/fence", 0),
                    Set("/record", attempt.encode(), self.version),
                    Create(f"/did/{self.version}", attempt.encode()),
                ]
            )
        except NotConnectedError:
            self.refused += 1
            return
        except OutcomeUnknownError:
            self.unknown += 1
            await self._resolve(attempt)
            return
        self._count(attempt)

    async def _resolve(self, attempt):
        """Rule 5: read; done, or send the same again. What was sent may still be applied: then that is refused."""
        while True:
            await self.answered(lambda: self._store.sync("/record"))
            node = await self.answered(lambda: self._store.get("/record"))
            if node == Node(attempt.encode(), self.version + 1):
                return self._count(attempt)
            assert node.version == self.version, "somebody else has written"
            try:
                await self._store.multi(
                    [
                        Set("/record", attempt.encode(), self.version),
                        Create(f"/did/{self.version}", attempt.encode()),
                    ]
                )
                return self._count(attempt)
            except (Conflict, NotConnectedError, OutcomeUnknownError):
                continue

    def _count(self, attempt):
        self.done.append(attempt)
        self.version += 1

    async def answered(self, call):
        while True:
            try:
                return await call()
            except NotConnectedError:
                await asyncio.sleep(0.05)

    async def check(self):
        """Every reported success is there exactly once, and nothing else is."""
        await self._store.sync("/record")
        record = await self._store.get("/record")
        assert record.version == self.version == len(self.done)
        assert sorted(await self._store.children("/did"), key=int) == [str(n) for n in range(self.version)]
        nodes = await self._store.get_many([f"/did/{n}" for n in range(self.version)])
        assert [node.value.decode() for node in nodes] == self.done


async def count_until(counting, done):
    async with asyncio.timeout(WAIT_S_MAX):
        while not done():
            await counting.step()


async def bounded(call, limit=CALL_S_MAX):
    """The call ends in time, with an error that says what to do."""
    async with asyncio.timeout(limit):
        with pytest.raises((NotConnectedError, OutcomeUnknownError)) as caught:
            await call
    return caught.value


def test_commits_are_exactly_what_was_reported_when_leaders_are_killed(ensemble, run):
    async def scenario():
        async with opened(ensemble, "/kill-leader") as store:
            counting = Counting(store)
            await counting.begin()
            for _ in range(3):
                begun = counting.version
                await count_until(counting, lambda begun=begun: counting.version >= begun + 20)
                leader = await asyncio.to_thread(ensemble.leader)
                stepping = asyncio.create_task(count_until(counting, lambda: False))
                await asyncio.to_thread(ensemble.kill, leader)
                await asyncio.to_thread(ensemble.await_quorum)
                stepping.cancel()  # in the middle of a commit, as a crash would
                await asyncio.gather(stepping, return_exceptions=True)
                await asyncio.to_thread(ensemble.start, leader)
                await asyncio.to_thread(ensemble.await_quorum)
                await recover(counting, store)
            await count_until(counting, lambda: counting.version >= begun + 40)
            await counting.check()
            assert counting.unknown + counting.refused > 0

    run(scenario(), timeout_s=150)


async def recover(counting, store):
    """After a crash in the middle of a commit: the record says what is done."""
    await counting.answered(lambda: store.sync("/record"))
    node = await counting.answered(lambda: store.get("/record"))
    while node.version > counting.version:
        did = await counting.answered(lambda: store.get(f"/did/{counting.version}"))
        counting.done.append(did.value.decode())
        counting.version += 1


def test_commits_are_exactly_what_was_reported_when_the_session_expires(zookeeper, run):
    async def scenario():
        async with opened(zookeeper, "/expire") as store:
            counting = Counting(store)
            await counting.begin()
            for _ in range(5):
                session = await until(store, is_connected)
                stepping = asyncio.create_task(
                    count_until(counting, lambda old=session.id: store.session.id != old)
                )
                await asyncio.sleep(
                    random.Random(len(counting.done)).uniform(0.01, 0.05)
                )  # the moment of the fault
                await asyncio.to_thread(zookeeper.expire, store)
                await stepping
            await count_until(counting, lambda: is_connected(store.session))
            await counting.check()
            assert counting.version > 5

    run(scenario(), timeout_s=150)


def test_store_goes_on_by_itself_when_all_servers_were_paused(ensemble, run):
    async def scenario():
        async with opened(ensemble, "/pause") as store:
            await store.multi([Create("/a", b"0")])
            for index in range(3):
                ensemble.pause(index)
            try:
                assert isinstance(await bounded(store.multi([Set("/a", b"1", 0)])), OutcomeUnknownError)
                await until(store, lambda session: session.state is SessionState.SUSPENDED)
                assert isinstance(await bounded(store.get("/a")), NotConnectedError)
                assert isinstance(await bounded(store.multi([Create("/b", b"")])), NotConnectedError)
            finally:
                for index in range(3):
                    ensemble.resume(index)
            await until(store, is_connected)
            await asyncio.to_thread(ensemble.await_quorum)
            async with asyncio.timeout(WAIT_S_MAX):
                while True:
                    try:
                        await store.sync("/a")
                        node = await store.get("/a")
                        assert await store.get("/b") is None
                        break
                    except NotConnectedError:
                        await asyncio.sleep(0.1)
            assert node in (Node(b"0", 0), Node(b"1", 1))  # nobody could tell; now it is certain
            await store.multi([Set("/a", b"2", node.version)])

    run(scenario(), timeout_s=150)


# Commits as fast as it can while nobody moves its fence, and says how each went.
COLLECTOR = """
import asyncio, sys
import structlog
from qanat.coordination.registration import Registration
from qanat.coordination.store import Check, Conflict, Set
from qanat.coordination.zookeeper_store import ZookeeperStore
from qanat.coordination.zookeeper_url import parse_url
from qanat.errors import NotConnectedError, OutcomeUnknownError

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    store = ZookeeperStore(parse_url(sys.argv[1]))
    registration = Registration(store, "/live/c1", b"")
    registering = asyncio.create_task(registration.run())
    while not registration.stands:
        await asyncio.sleep(0.05)
    version = 0
    while True:
        try:
            await store.multi([Check("/fence", 0), Set("/record", b"mine", version)])
            version += 1
            print("done", store.session.id, flush=True)
        except Conflict as conflict:
            print("conflict", conflict.index, flush=True)
            break
        except (NotConnectedError, OutcomeUnknownError) as error:
            print(type(error).__name__, flush=True)
            node = None
            while node is None:
                try:
                    await store.sync("/record")
                    node = await store.get("/record")
                except NotConnectedError:
                    await asyncio.sleep(0.1)
            version = node.version
    while not registration.stands:
        await asyncio.sleep(0.05)
    print("stands", store.session.id, flush=True)
    registering.cancel()
    await store.close()

asyncio.run(main())
"""


def test_stopped_collector_that_wakes_commits_nothing_after_its_fence_was_moved(zookeeper, run):
    prefix = f"/{uuid.uuid4().hex}"
    url = zookeeper.url(prefix, options="session_timeout=2s")

    async def take_over():
        """Once it is seen to be dead; gives the record as it is then."""
        async with opened(zookeeper, prefix) as store:
            async with asyncio.timeout(WAIT_S_MAX), contextlib.aclosing(store.watch("/live/c1")) as changes:
                async for _ in changes:
                    if await store.get("/live/c1") is None:
                        break
            await store.multi([Set("/fence", b"", 0)])
            return await store.get("/record")

    async def begin():
        async with opened(zookeeper, prefix) as store:
            await store.multi([Create("/fence", b""), Create("/record", b"")])

    async def record():
        async with opened(zookeeper, prefix) as store:
            return await store.get("/record")

    run(begin())
    collector = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR, url], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        for _ in range(20):
            said, first_session = collector.stdout.readline().split()
            assert said == "done"
        collector.send_signal(signal.SIGSTOP)
        before = run(take_over())
        collector.send_signal(signal.SIGCONT)
        rest = collector.communicate(timeout=WAIT_S_MAX)[0].split("\n")
    finally:
        collector.kill()
        collector.communicate()
    # What it had printed, or was about to, when it was stopped; then no more success.
    later = [line for line in rest if line and line != f"done {first_session}"]
    assert [line for line in later if line.startswith("done")] == []
    assert "conflict 0" in later
    assert later[-1].startswith("stands")
    assert later[-1] != f"stands {first_session}"
    assert run(record()) == before
    assert len([line for line in rest if line.startswith("done")]) + 20 <= before.version


def test_values_larger_than_a_request_are_stored_and_read(zookeeper, run):
    large = random.Random(3).randbytes(5_000_000)

    async def scenario():
        store = open_store(zookeeper.url(f"/{uuid.uuid4().hex}"))
        try:
            await store.multi([Create("/a", large), Create("/b", b"small")])
            assert await store.get_many(["/a", "/b"]) == [Node(large, 0), Node(b"small", 0)]
            await store.multi([Set("/a", b"", 0), Check("/b", 0)])
            assert await store.get("/a") == Node(b"", 1)
        finally:
            await store.close()

    run(scenario())


def test_nothing_is_done_without_a_majority_and_everything_goes_on_with_one(ensemble, run):
    async def scenario():
        async with opened(ensemble, "/majority") as store, opened(ensemble, "/majority") as reader:
            registration = Registration(store, "/live/c1", b"")
            registering = asyncio.create_task(registration.run())
            await until(store, lambda _: registration.stands or store.session.id)
            watch = reader.watch("/live")
            await anext(watch)
            leader = await asyncio.to_thread(ensemble.leader)
            down = [leader, (leader + 1) % 3]
            for index in down:
                await asyncio.to_thread(ensemble.kill, index)
            for client in (store, reader):
                await until(client, lambda session: session.state is not SessionState.CONNECTED)
            assert isinstance(await bounded(reader.multi([Create("/no", b"")])), NotConnectedError)
            for index in down:
                await asyncio.to_thread(ensemble.start, index)
            await asyncio.to_thread(ensemble.await_quorum)
            async with asyncio.timeout(WAIT_S_MAX):
                while not registration.stands:  # noqa: ASYNC110  # a property is what is tested
                    await asyncio.sleep(0.05)
                await anext(watch)  # told after the interruption
                while await children(reader, "/live") != ["c1"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            registering.cancel()
            await asyncio.gather(registering, return_exceptions=True)
            await watch.aclose()
            assert await children(reader, "/") == ["live"]  # and not "/no"

    run(scenario(), timeout_s=150)


async def children(store, path):
    try:
        await store.sync(path)
        return await store.children(path)
    except NotConnectedError:
        return None


def test_client_may_be_started_before_the_servers(alone, run):
    async def scenario():
        async with opened(alone, "/early") as store:
            error = await bounded(store.get("/a"), SESSION_S + 2.0)
            assert isinstance(error, NotConnectedError)
            assert "refused" in str(error)
            waiting = asyncio.create_task(anext(store.watch("/a")))
            await asyncio.to_thread(alone.start, 0)
            async with asyncio.timeout(WAIT_S_MAX):
                await waiting
            await store.multi([Create("/a", b"")])
        alone.kill(0)

    run(scenario(), timeout_s=90)


def test_reply_that_is_lost_is_an_unknown_outcome(zookeeper, run):
    async def scenario():
        with proxied(zookeeper.servers[0].port) as proxy:
            url = f"zookeeper://{proxy.address}/lost-reply?session_timeout={SESSION_S:g}s"
            store = ZookeeperStore(parse_url(url))
            async with opened(zookeeper, "/lost-reply") as other:
                await store.multi([Create("/a", b"0")])
                proxy.stall_replies = True
                writing = asyncio.create_task(store.multi([Set("/a", b"1", 0)]))
                async with asyncio.timeout(WAIT_S_MAX), contextlib.aclosing(other.watch("/a")) as changes:
                    async for _ in changes:
                        if await other.get("/a") == Node(b"1", 1):
                            break
                proxy.cut()
                with pytest.raises(OutcomeUnknownError):
                    await writing
                proxy.stall_replies = False
                session = await until(store, is_connected)
                assert session.id == store.session.id
                with pytest.raises(Conflict):
                    await store.multi([Set("/a", b"1", 0)])
            await store.close()

    run(scenario(), timeout_s=90)


def test_session_survives_the_death_of_its_server(ensemble, run):
    async def scenario():
        async with opened(ensemble, "/move") as store:
            await store.multi([Create("/me", b"", ephemeral=True)])
            session = store.session
            for index in range(3):
                await asyncio.to_thread(ensemble.kill, index)
                await asyncio.to_thread(ensemble.start, index)
                await asyncio.to_thread(ensemble.await_quorum)
                again = await until(store, is_connected)
            await store.sync("/me")
            node = await store.get("/me")
            assert again.id == session.id
            assert node == Node(b"", 0, session.id)

    run(scenario(), timeout_s=150)


class _Unforeseen:
    """A request that kazoo can't send; its thread ends with the error."""

    type = 1

    def serialize(self):
        raise RuntimeError("unforeseen")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_store_goes_on_after_an_error_that_ends_kazoos_thread(zookeeper, run):
    async def scenario():
        async with opened(zookeeper, f"/{uuid.uuid4().hex}") as store:
            await store.multi([Create("/a", b""), Create("/me", b"", ephemeral=True)])
            first = store.session.id
            client = store._connection._client
            client._call(_Unforeseen(), client.handler.async_result())
            await until(store, lambda session: is_connected(session) and session.id != first)
            await store.multi([Set("/a", b"1", 0)])

    run(scenario())
