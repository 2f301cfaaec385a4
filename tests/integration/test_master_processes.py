"""Masters as processes, on the embedded store and on a real ensemble: killed, stopped, and without their store."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest

from qanat.testing.cluster import free_port
from qanat.testing.control import AdminClient, AdminError, SimulatedNode
from qanat.testing.daemon import Daemon, ended_together
from qanat.testing.zookeeper import Ensemble
from tests.integration.masters import eventually

NODES = 12


@pytest.fixture(scope="module", params=["embedded", "zookeeper"])
def ensemble(request) -> Ensemble | None:
    """The ensemble that all share, None for the embedded store. It must be there before a test's children are counted."""
    return request.getfixturevalue("zookeeper") if request.param == "zookeeper" else None


@pytest.fixture
def store_url(ensemble: Ensemble | None, tmp_path) -> str:
    """Each kind of store, empty."""
    if ensemble is None:
        return f"embedded:{tmp_path / 'store.db'}"
    return ensemble.url(f"/{tmp_path.name}", options="session_timeout=2s")


@pytest.fixture
def own_ensemble(zookeeper_installed: None, tmp_path) -> Iterator[Ensemble]:
    """Servers that a test may break."""
    with Ensemble(tmp_path / "zookeeper") as ensemble:
        yield ensemble


@dataclass
class Scene:
    """Three masters as processes, nodes that know all of them, and an administrator at each."""

    daemons: list[Daemon]
    addresses: list[str]
    nodes: list[SimulatedNode]
    admins: list[AdminClient]

    async def everybody_runs(self, path: str) -> None:
        """Every node runs the statement with this path."""
        for node in self.nodes:
            await node.runs(statement(path).replace(" @ kind=web", ""))

    async def leader(self, admin: AdminClient) -> int:
        """The number of the master that leads, once one does."""
        found: list[int] = []

        async def there_is_one() -> bool:
            rows = (await admin("masters"))["masters"]
            found[:] = [self.addresses.index(row["id"]) for row in rows if row["leads"]]
            return bool(found)

        await eventually(there_is_one, "a leader")
        return found[0]

    async def knows(self, admin: AdminClient, masters: int) -> bool:
        """Whether the administrator's master lists so many; one that just ended is listed until the store says otherwise."""
        return len((await admin("masters"))["masters"]) == masters


def statement(path: str) -> str:
    return f'web @ kind=web : tail("/{path}") | agentE2ESink("c1") ;'


@contextlib.asynccontextmanager
async def scene(store_url: str, tmp_path) -> AsyncIterator[Scene]:
    daemons: list[Daemon] = []
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(ended_together(daemons))
        for number, address in enumerate(addresses):
            arguments = ["master", "--store", store_url, "--listen", address, "--http", f"{free_port()}"]
            daemons.append(Daemon(f"master-{number}", arguments, tmp_path / f"master-{number}.log"))
            daemons[-1].start()
        admins = [await stack.enter_async_context(AdminClient(address)) for address in addresses]
        for admin in admins:
            await eventually(lambda admin=admin: _answers(admin), "an answer of every master")
        nodes = [
            await stack.enter_async_context(SimulatedNode(f"n{number}", addresses, labels={"kind": "web"}))
            for number in range(NODES)
        ]
        yield Scene(daemons, addresses, nodes, admins)


async def _answers(admin: AdminClient) -> bool:
    try:
        return len((await admin("masters"))["masters"]) == 3
    except AdminError:
        return False


def test_nodes_of_a_killed_master_are_told_by_the_others(run, store_url, tmp_path):
    async def scenario() -> None:
        async with scene(store_url, tmp_path) as s:
            await s.admins[0]("apply", text=statement("one"))
            await s.everybody_runs("one")
            s.daemons[0].kill()
            plan = await s.admins[1]("apply", text=statement("two"))
            await s.everybody_runs("two")
            assert {node.master for node in s.nodes} <= set(s.addresses[1:])
            assert (await s.admins[2].stream("wait", revision=plan["revision"]))[-1]["done"]
            s.daemons[0].start()
            await eventually(lambda: _answers(s.admins[1]), "the master is back")
            assert (await s.admins[0]("get"))["nodes"][0]["version"] == 2

    run(scenario(), timeout_s=120)


def test_leader_that_is_killed_while_changes_are_made_loses_none(run, store_url, tmp_path):
    async def scenario() -> None:
        async with scene(store_url, tmp_path) as s:
            leader = await s.leader(s.admins[0])
            others = [number for number in range(3) if number != leader]

            async def keep_changing(number: int) -> None:
                for turn in range(15):
                    await s.admins[number](
                        "apply", text=f'n{number}-{turn} : tail("/{turn}") | agentBESink("c") ;'
                    )

            changing = [asyncio.create_task(keep_changing(number)) for number in others]
            await asyncio.sleep(0)
            s.daemons[leader].kill()
            await asyncio.gather(*changing)
            names = sorted(f"n{number}-{turn}" for number in others for turn in range(15))
            assert [each["logical"] for each in (await s.admins[others[0]]("get"))["nodes"]] == names
            assert await s.leader(s.admins[others[1]]) in others or await _leads_later(s, others)

    async def _leads_later(s: Scene, others: list[int]) -> bool:
        async def moved() -> bool:
            return await s.leader(s.admins[others[0]]) in others

        await eventually(moved, "another leader", 30.0)
        return True

    run(scenario(), timeout_s=120)


def test_each_master_in_turn_is_killed_while_changes_are_applied_and_none_is_lost(run, store_url, tmp_path):
    async def scenario() -> None:
        async with scene(store_url, tmp_path) as s:
            version = 0
            for victim in range(3):
                others = [number for number in range(3) if number != victim]

                async def keep_changing(others: list[int] = others) -> None:
                    nonlocal version
                    for turn in range(6):
                        version += 1
                        await s.admins[others[turn % 2]]("apply", text=statement(f"{version}"))

                changing = asyncio.create_task(keep_changing())
                await asyncio.sleep(0)
                s.daemons[victim].kill()
                await changing
                await s.everybody_runs(f"{version}")
                s.daemons[victim].start()
                await eventually(lambda others=others: _answers(s.admins[others[0]]), "the master is back")
            (found,) = (await s.admins[2]("get"))["nodes"]
            assert found["version"] == version == 18

    run(scenario(), timeout_s=170)


def test_two_masters_change_the_same_and_different_things_at_once(run, store_url, tmp_path):
    async def scenario() -> None:
        async with scene(store_url, tmp_path) as s:

            async def change(number: int) -> None:
                for turn in range(10):
                    await insist(s.admins[number], statement(f"{number}-{turn}"))
                    await s.admins[number](
                        "apply", text=f'own{number} : tail("/{turn}") | agentBESink("c") ;'
                    )

            await asyncio.gather(change(0), change(1))
            versions = {each["logical"]: each["version"] for each in (await s.admins[2]("get"))["nodes"]}
            assert versions == {"web": 20, "own0": 10, "own1": 10}
            kept = (await s.admins[2]("history", logical="web"))["nodes"]
            assert [each["version"] for each in kept] == list(range(20, 0, -1))
            assert sorted(_path(each["text"]) for each in kept) == sorted(
                f"{number}-{turn}" for number in range(2) for turn in range(10)
            )
            await s.everybody_runs(_path(kept[0]["text"]))

    run(scenario(), timeout_s=120)


async def insist(admin: AdminClient, text: str) -> None:
    """Apply it, again when somebody else has changed the same meanwhile: who is told so has changed nothing."""
    while True:
        try:
            await admin("apply", text=text)
            return
        except AdminError as error:
            if error.kind != "CONFLICT":
                raise


def _path(text: str) -> str:
    return text.partition('tail("/')[2].partition('"')[0]


def test_stopped_master_sends_its_nodes_away_first(run, store_url, tmp_path):
    async def scenario() -> None:
        async with scene(store_url, tmp_path) as s:
            await s.admins[0]("apply", text=statement("one"))
            await s.everybody_runs("one")
            moves = {node.name: node.moves for node in s.nodes if node.master == s.addresses[1]}
            s.daemons[1].terminate()
            assert await asyncio.to_thread(s.daemons[1].wait) == 0
            for node in s.nodes:
                await node.until(lambda node=node: node.master in (s.addresses[0], s.addresses[2]))
            # Told to go, each of them; the others may be told too, once the two that are left even out what they have.
            assert all(node.moves > moves[node.name] for node in s.nodes if node.name in moves)
            await eventually(lambda: s.knows(s.admins[0], 2), "the others to know that it went")

    run(scenario(), timeout_s=120)


def test_changes_go_on_while_a_server_dies_and_after_a_majority_was_away(run, own_ensemble, tmp_path):
    servers = own_ensemble
    url = servers.url("/q", options="session_timeout=3s")

    async def scenario() -> None:
        async with scene(url, tmp_path) as s:
            await s.admins[0]("apply", text=statement("one"))
            await s.everybody_runs("one")
            said_done: list[str] = []
            refusals: set[str] = set()

            async def change(turn: int) -> None:
                name = f"t{turn}"
                try:
                    await s.admins[turn % 3]("apply", text=f'{name} : tail("/{turn}") | agentBESink("c") ;')
                except AdminError as error:
                    refusals.add(error.kind)
                else:
                    said_done.append(name)

            async def keep_changing(until: asyncio.Event) -> None:
                turn = len(said_done)
                while not until.is_set():
                    turn += 1
                    await change(turn)

            enough = asyncio.Event()
            changing = asyncio.create_task(keep_changing(enough))
            await asyncio.to_thread(servers.kill, servers.leader())
            before = len(said_done)
            await eventually(_later(lambda: len(said_done) > before + 3), "changes go on", 40.0)
            alive = next(index for index, server in enumerate(servers.servers) if server.mode() is not None)
            await asyncio.to_thread(servers.kill, alive)  # the majority is away
            await eventually(lambda: _is_stale(s.admins[0]), "a master knows that its store is away", 40.0)
            for index, server in enumerate(servers.servers):
                if server.mode() is None:
                    server.kill()
                    servers.start(index)
            await asyncio.to_thread(servers.await_quorum)
            before = len(said_done)
            await eventually(_later(lambda: len(said_done) > before + 3), "changes go on again", 60.0)
            enough.set()
            await changing
            kept = {each["logical"] for each in (await s.admins[1]("get"))["nodes"]}
            assert set(said_done) <= kept
            assert refusals <= {"UNAVAILABLE", "OUTCOME_UNKNOWN"}
            await s.admins[2]("apply", text=statement("two"))
            await s.everybody_runs("two")

    run(scenario(), timeout_s=240)


async def _is_stale(admin: AdminClient) -> bool:
    """It answers, and says that what it shows may be old."""
    reply = await admin.reply("get", timeout_s=60)
    return reply.stale and not reply.HasField("error")


def _later(condition):
    async def asked() -> bool:
        return bool(condition())

    return asked


def test_second_master_of_one_id_is_the_one_that_goes_on(run, tmp_path):
    url = f"embedded:{tmp_path / 'store.db'}"
    daemons = [
        Daemon(
            f"master-{number}",
            [
                "master",
                "--store",
                url,
                "--listen",
                f"127.0.0.1:{free_port()}",
                "--http",
                "none",
                "--id",
                "same",
            ],
            tmp_path / f"{number}.log",
        )
        for number in range(2)
    ]
    with ended_together(daemons):
        daemons[0].start()
        daemons[0].wait_for("leadership_won")
        daemons[1].start()
        assert daemons[0].wait() == 1
        assert "another process has registered" in daemons[0].text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--store", "nothing:"], "unknown kind"),
        (["--store", "embedded:/tmp/x.db", "--listen", "a:b:c"], "is not an address"),
        (["--store", "embedded:/tmp/x.db", "--id", "a b"], "--id"),
        ([], "--store"),
    ],
)
def test_wrong_command_line_says_what_to_change(tmp_path, arguments, says):
    daemon = Daemon("master", ["master", *arguments], tmp_path / "log")
    daemon.start()
    assert daemon.wait() == 2
    assert says in daemon.text()


def test_port_that_is_taken_is_an_error_that_says_so(tmp_path):
    address = f"127.0.0.1:{free_port()}"
    url = f"embedded:{tmp_path / 'store.db'}"
    daemons = [
        Daemon(
            f"m{number}",
            ["master", "--store", url, "--listen", address, "--http", "none"],
            tmp_path / f"{number}",
        )
        for number in range(2)
    ]
    with ended_together(daemons):
        daemons[0].start()
        daemons[0].wait_for("master_started")
        daemons[1].start()
        assert daemons[1].wait() == 2
        assert f"can't listen at {address}" in daemons[1].text()
