"""How fast a change reaches every node, and how fast nodes of a dead master are elsewhere, with masters as processes.

    python bench/control_plane.py [--nodes 10000] [--masters 3] [--per-connection 20] [--steady-s 20] [--json]

A real ZooKeeper ensemble, real masters, and simulated nodes that speak the real protocol, in two processes beside them.
Nodes share connections, `--per-connection` each, since a connection costs a client more than a node does. Ten collectors
are registered; the configuration has automatic chains, so that every node is told something of its own. Times are what an
administrator sees: from the command until all masters say that all nodes run it.

`store_writes_steady`: transactions of the ensemble while nothing changes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from qanat.control import paths
from qanat.control.documents import CollectorNode, encode
from qanat.coordination.open import open_store
from qanat.coordination.store import Create
from qanat.testing.cluster import LOOPBACK, free_port
from qanat.testing.control import AdminClient, AdminError, SharedChannels, SimulatedNode
from qanat.testing.daemon import Daemon, ended_together
from qanat.testing.zookeeper import Ensemble

WORKERS = 2
COLLECTORS = 10
CONNECT_S_MAX = 300.0
LOOK_S = 0.1


def flow(path: str) -> str:
    """One statement for all agents, and what makes their chains."""
    return (
        f'web @ kind=web : tail("{path}") | autoE2EChain ;\n'
        'coll @ role=collector : autoCollectorSource | file("/data/", "x-") ;\n'
    )


def allow_open_files() -> None:
    """As many connections as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def simulate(first: int, count: int, per_connection: int, masters: Sequence[str]) -> None:
    """Nodes of one process; until it is killed."""
    connect = SharedChannels(per_connection)
    nodes = [
        SimulatedNode(f"web-{number}", masters, labels={"kind": "web"}, connect=connect)
        for number in range(first, first + count)
    ]
    for number, node in enumerate(nodes):
        node.start()
        if number % 100 == 99:
            await asyncio.sleep(0.05)
    await asyncio.Event().wait()


@contextlib.contextmanager
def worker(options: argparse.Namespace, nodes: str) -> Iterator[None]:
    """A process with simulated nodes."""
    command = [sys.executable, __file__, "--per-connection", str(options.per_connection), "--simulate", nodes]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def cluster(options: argparse.Namespace, directory: Path, url: str) -> AsyncIterator[Any]:
    """Masters, collectors and nodes; yields the masters and an administrator for each."""
    daemons: list[Daemon] = []
    addresses = [f"{LOOPBACK}:{free_port()}" for _ in range(options.masters)]
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(ended_together(daemons))
        for number, address in enumerate(addresses):
            arguments = ["master", "--store", url, "--listen", address, "--http", "none"]
            daemons.append(Daemon(f"master-{number}", arguments, directory / f"master-{number}.log"))
            daemons[-1].start()
        store = open_store(url)
        stack.push_async_callback(store.close)
        for number in range(COLLECTORS):
            node = CollectorNode(listening={"coll": f"10.0.0.{number}:35853"})
            await store.multi([Create(paths.of(paths.NODES, f"c{number}"), encode(node), ephemeral=True)])
        admins = [await stack.enter_async_context(AdminClient(address)) for address in addresses]
        for admin in admins:
            await until(admin, lambda rows: len(rows) == options.masters)
        share = options.nodes // WORKERS
        for number in range(WORKERS):
            stack.enter_context(worker(options, f"{number * share}:{share}:{','.join(addresses)}"))
        yield daemons, admins


async def until(admin: AdminClient, condition: Any, seconds_max: float = CONNECT_S_MAX) -> None:
    """Ask for the masters until `condition(rows)` holds."""
    async with asyncio.timeout(seconds_max):
        while True:
            with contextlib.suppress(AdminError):
                if condition((await admin("masters"))["masters"]):
                    return
            await asyncio.sleep(LOOK_S)


def attached(rows: list[dict[str, Any]]) -> int:
    """Nodes at all masters that answer."""
    return sum(row.get("attached", 0) for row in rows)


async def apply_all(admin: AdminClient, path: str) -> float:
    """Seconds from the command until every node runs it."""
    began = time.perf_counter()
    plan = await admin("apply", text=flow(path))
    waited = await admin.stream("wait", revision=plan["revision"], timeout_s=120)
    if not waited[-1]["done"]:
        raise AssertionError(f"not applied: {waited[-1]}")
    return time.perf_counter() - began


def transactions(ensemble: Ensemble) -> int:
    """What the ensemble has written so far in this epoch of its leader."""
    with socket.create_connection((LOOPBACK, ensemble.servers[ensemble.leader()].port), 2) as connection:
        connection.sendall(b"srvr")
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    found = re.search(r"Zxid: 0x([0-9a-f]+)", answer)
    assert found is not None
    return int(found[1], 16) & 0xFFFFFFFF


async def measure(options: argparse.Namespace, directory: Path, ensemble: Ensemble) -> dict[str, Any]:
    """The whole run."""
    result: dict[str, Any] = {"nodes": options.nodes, "masters": options.masters}
    async with cluster(options, directory, ensemble.url("/bench")) as (daemons, admins):
        began = time.perf_counter()
        await until(admins[0], lambda rows: attached(rows) == options.nodes)
        result["connect_all_s"] = round(time.perf_counter() - began, 2)
        applied = [await apply_all(admins[0], f"/var/log/{turn}") for turn in range(options.applies)]
        result["apply_all_s"] = round(sorted(applied)[len(applied) // 2], 2)
        result["apply_all_s_each"] = [round(each, 2) for each in applied]
        cpu, writes, began = [each.cpu_s for each in daemons], transactions(ensemble), time.perf_counter()
        await asyncio.sleep(options.steady_s)
        seconds = time.perf_counter() - began
        result["master_cpu_steady"] = [
            round((daemon.cpu_s - before) / seconds, 3) for daemon, before in zip(daemons, cpu, strict=True)
        ]
        result["store_writes_steady"] = transactions(ensemble) - writes
        result["master_rss_mb"] = round(max(daemon.rss_peak_mb for daemon in daemons))
        rows = (await admins[1]("masters"))["masters"]
        result["attached"] = [row.get("attached", 0) for row in rows]
        daemons[0].kill()
        began = time.perf_counter()
        await until(admins[1], lambda rows: attached(rows) == options.nodes)
        result["takeover_s"] = round(time.perf_counter() - began, 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--masters", type=int, default=3)
    parser.add_argument("--per-connection", type=int, default=20)
    parser.add_argument("--applies", type=int, default=3)
    parser.add_argument("--steady-s", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--simulate", help=argparse.SUPPRESS)
    options = parser.parse_args()
    allow_open_files()
    if options.simulate:
        first, count, masters = options.simulate.split(":", 2)
        asyncio.run(simulate(int(first), int(count), options.per_connection, masters.split(",")))
        return
    with (
        tempfile.TemporaryDirectory(prefix="qanat-bench-") as directory,
        Ensemble(Path(directory) / "zookeeper") as ensemble,
    ):
        result = asyncio.run(measure(options, Path(directory), ensemble))
    print(
        json.dumps(result)
        if options.json
        else "\n".join(f"{name:22} {value}" for name, value in result.items())
    )


if __name__ == "__main__":
    main()
