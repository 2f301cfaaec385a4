"""How fast a change reaches every node, and how fast nodes of a dead master are elsewhere, with masters as processes.

    python bench/control_plane.py [--nodes 10000] [--masters 3] [--per-connection 20] [--steady-s 20] [--json]

A real ZooKeeper ensemble, real masters, and simulated nodes that speak the real protocol, in two processes beside them.
Nodes share connections, `--per-connection` each, since a connection costs a client more than a node does. Ten collectors
are registered; the configuration has automatic chains, so that every node is told something of its own. Times are what an
administrator sees: from the command until all masters say that all nodes run it.

`store_writes_steady`: transactions of the ensemble while nothing changes. `*_cpu_s_masters`, `*_cpu_s_nodes`: seconds of CPU of
all masters, and of all simulated nodes, meanwhile; where others use the cores too, these say more than the times do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qanat.control import paths
from qanat.control.documents import CollectorNode, encode
from qanat.coordination.open import open_store
from qanat.coordination.store import Create
from qanat.testing.cluster import LOOPBACK, free_port
from qanat.testing.control import AdminClient, AdminError
from qanat.testing.daemon import Daemon, ended_together
from qanat.testing.many_nodes import Connections, PlainNode
from qanat.testing.zookeeper import Ensemble

WORKERS = 2
COLLECTORS = 10
CONNECT_S_MAX = 300.0
LOOK_S = 0.1

# What a change leaves to be done (the last reports, what is known of nodes) is no part of the steady state.
SETTLE_S = 5.0


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
    gc.disable()  # nothing here is a cycle, and looking for some costs a tenth
    connections = Connections(per_connection)
    nodes = [
        PlainNode(f"web-{number}", masters, {"kind": "web"}, connections)
        for number in range(first, first + count)
    ]
    for number, node in enumerate(nodes):
        node.start()
        if number % 100 == 99:
            await asyncio.sleep(0.05)
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class Cluster:
    """The processes of a run, and an administrator for each master."""

    masters: list[Daemon]
    workers: list[int]
    admins: list[AdminClient]

    def cpu_s(self) -> dict[str, float]:
        """That living masters, and simulated nodes, have used so far."""
        living = [each for each in self.masters if each.is_running]
        return {
            "masters": sum(each.cpu_s for each in living),
            "nodes": sum(cpu_s(each) for each in self.workers),
        }


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used(before: dict[str, float], after: dict[str, float], what: str) -> dict[str, float]:
    """The difference, named for `what` it was used for."""
    return {f"{what}_cpu_s_{who}": round(after[who] - before[who], 2) for who in before}


@contextlib.contextmanager
def worker(options: argparse.Namespace, nodes: str) -> Iterator[int]:
    """A process with simulated nodes; yields its id."""
    command = [sys.executable, __file__, "--per-connection", str(options.per_connection), "--simulate", nodes]
    process = subprocess.Popen(command)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def cluster(options: argparse.Namespace, directory: Path, url: str) -> AsyncIterator[Cluster]:
    """Masters, collectors and nodes."""
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
        workers = [
            stack.enter_context(worker(options, f"{number * share}:{share}:{','.join(addresses)}"))
            for number in range(WORKERS)
        ]
        yield Cluster(daemons, workers, admins)


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
    async with cluster(options, directory, ensemble.url("/bench")) as run:
        began = time.perf_counter()
        await until(run.admins[0], lambda rows: attached(rows) == options.nodes)
        result["connect_all_s"] = round(time.perf_counter() - began, 2)
        result |= await measure_applies(options, run)
        result |= await measure_steady(options, run, ensemble)
        result |= await measure_takeover(options, run)
    return result


async def measure_applies(options: argparse.Namespace, run: Cluster) -> dict[str, Any]:
    """Changes of all nodes, one after the other. CPU time is the median, too: the first change costs imports besides."""
    seconds, cpu = [], []
    for turn in range(options.applies):
        before = run.cpu_s()
        seconds.append(await apply_all(run.admins[0], f"/var/log/{turn}"))
        cpu.append(used(before, run.cpu_s(), "apply"))
    middle = len(seconds) // 2
    return {
        "apply_all_s": round(sorted(seconds)[middle], 2),
        "apply_all_s_each": [round(each, 2) for each in seconds],
        **{name: sorted(each[name] for each in cpu)[middle] for name in cpu[0]},
    }


async def measure_steady(options: argparse.Namespace, run: Cluster, ensemble: Ensemble) -> dict[str, Any]:
    """What it costs while nothing changes."""
    await asyncio.sleep(SETTLE_S)
    cpu, writes, began = [each.cpu_s for each in run.masters], transactions(ensemble), time.perf_counter()
    await asyncio.sleep(options.steady_s)
    seconds = time.perf_counter() - began
    rows = (await run.admins[1]("masters"))["masters"]
    return {
        "master_cpu_steady": [
            round((daemon.cpu_s - before) / seconds, 3)
            for daemon, before in zip(run.masters, cpu, strict=True)
        ],
        "store_writes_steady": transactions(ensemble) - writes,
        "master_rss_mb": round(max(daemon.rss_peak_mb for daemon in run.masters)),
        "attached": [row.get("attached", 0) for row in rows],
    }


async def measure_takeover(options: argparse.Namespace, run: Cluster) -> dict[str, Any]:
    """Kill the first master."""
    run.masters[0].kill()
    before, began = run.cpu_s(), time.perf_counter()
    await until(run.admins[1], lambda rows: attached(rows) == options.nodes)
    return {
        "takeover_s": round(time.perf_counter() - began, 2),
        **used(before, run.cpu_s(), "takeover"),
    }


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
