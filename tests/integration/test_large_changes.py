"""Changes of more statements than fit into one request to the store: masters as processes, on both stores."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from qanat.testing.control import AdminClient, AdminError
from qanat.testing.zookeeper import Ensemble
from tests.integration.masters import eventually
from tests.integration.test_master_processes import Scene, scene

# 1.1 MB for ZooKeeper, which takes 1 MB.
MANY = 1500

LONG_S = 120.0


@pytest.fixture(scope="module", params=["embedded", "zookeeper"])
def ensemble(request) -> Ensemble | None:
    """The ensemble that all share, None for the embedded store. It must be there before a test's children are counted."""
    return request.getfixturevalue("zookeeper") if request.param == "zookeeper" else None


@pytest.fixture
def store_url(ensemble: Ensemble | None, tmp_path) -> str:
    """Each kind of store, empty."""
    if ensemble is None:
        return f"embedded:{tmp_path / 'store.db'}"
    return ensemble.url(f"/{tmp_path.name}", options="session_timeout=4s")


def statement(number: int, path: str, *, selector: bool = True) -> str:
    chosen = " @ kind=web" if selector and number == 7 else ""
    return f'web-{number:05}{chosen} : tail("/{path}/{number}") | agentE2ESink("c1") ;'


def text(path: str) -> str:
    return "\n".join(statement(number, path) for number in range(MANY))


async def certainly(admin: AdminClient, method: str, **arguments):
    """Again while the store is away, as on a busy machine. What is asked for here is the same when it is done twice."""
    found = []

    async def done() -> bool:
        try:
            found.append(await admin(method, timeout_s=LONG_S, **arguments))
        except AdminError as error:
            if error.kind not in ("UNAVAILABLE", "OUTCOME_UNKNOWN"):
                raise
        return bool(found)

    await eventually(done, f"{method} is done", LONG_S)
    return found[0]


def test_large_changes_are_whole_for_everybody_though_the_leader_dies_while_it_spreads_one(
    run, store_url, tmp_path
):
    async def watch(admin: AdminClient, seen: set[tuple[tuple[int, int], ...]]) -> None:
        """How many there are of each version, as another master says it all the time."""
        while True:
            with contextlib.suppress(AdminError):
                found = [each["version"] for each in (await admin("get"))["nodes"]]
                seen.add(tuple(sorted({(version, found.count(version)) for version in found})))
            await asyncio.sleep(0.2)

    async def scenario() -> None:
        async with scene(store_url, tmp_path) as s:
            leader = await s.leader(s.admins[0])
            first, second = (number for number in range(3) if number != leader)
            seen: set[tuple[tuple[int, int], ...]] = set()
            watching = asyncio.create_task(watch(s.admins[first], seen))
            await certainly(s.admins[leader], "apply", text=text("a"))
            await _runs(s, "a")
            await certainly(s.admins[leader], "apply", text=text("b"))
            s.daemons[leader].kill()  # at once: it has begun to spread the change, at most
            await _runs(s, "b")
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            assert seen <= {(), ((1, MANY),), ((2, MANY),)}

            history = (await certainly(s.admins[second], "history", logical="web-00003"))["nodes"]
            assert [each["version"] for each in history] == [2, 1]
            await certainly(s.admins[first], "rollback", logical="web-00003", version=1)
            await certainly(s.admins[second], "apply", text='more : tail("/m") | agentBESink("c") ;')
            wanted = {f"web-{number:05}": 2 for number in range(MANY)} | {"web-00003": 3, "more": 1}

            async def is_so() -> bool:
                found = (await certainly(s.admins[first], "get"))["nodes"]
                return {each["logical"]: each["version"] for each in found} == wanted

            await eventually(is_so, "all of it, in the end", LONG_S)

    run(scenario(), timeout_s=4 * LONG_S)


async def _runs(s: Scene, path: str) -> None:
    """Every node is told."""
    wanted = statement(7, path, selector=False)
    for node in s.nodes:
        await node.until(lambda node=node: node.running.get("web-00007") == wanted, LONG_S)
