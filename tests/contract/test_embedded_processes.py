"""Several processes on one embedded store, killed at any moment: what was acknowledged is whole."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from qanat.coordination.sqlite_tree import SqliteTree
from qanat.coordination.store import Create

# A client claims the next number in one multi, and prints it when that returned. Checkpoints come often.
CLIENT = """
import asyncio, sys
from qanat.coordination import sqlite_tree
from qanat.coordination.open import open_store
from qanat.coordination.store import Conflict, Create, Set
sqlite_tree.CHECKPOINT_BYTES = 32 << 10

async def main(url, rounds):
    store = open_store(url)
    done = 0
    while done < rounds:
        node = await store.get("/counter")
        number = int(node.value)
        try:
            await store.multi([Create(f"/log/{number}", b"x" * 300),
                               Set("/counter", str(number + 1).encode(), node.version)])
        except Conflict:
            continue
        print(number, flush=True)
        done += 1
    await store.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

CLIENTS = 3
KILLS = 12


def _start(path: Path, rounds: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CLIENT, f"embedded:{path}", str(rounds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def _create(path: Path) -> None:
    tree = SqliteTree(path)
    tree.apply([Create("/counter", b"0"), Create("/log", b"")])
    tree.close()


def _acknowledged(output: bytes) -> list[int]:
    """The numbers on complete lines."""
    return [int(line) for line in output.split(b"\n")[:-1]]


def _check(path: Path, acknowledged: list[int]) -> int:
    """Whole multis, none lost, none doubled; how many there were."""
    tree = SqliteTree(path)
    (node,) = tree.get_many(["/counter"])
    assert node is not None
    count = int(node.value)
    assert node.version == count
    assert sorted(map(int, tree.children("/log"))) == list(range(count))
    assert len(set(acknowledged)) == len(acknowledged), "two clients were given one number"
    assert all(number < count for number in acknowledged), "an acknowledged multi is lost"
    tree.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    return count


def test_no_update_is_lost_between_processes(tmp_path):
    path = tmp_path / "store.db"
    _create(path)
    clients = [_start(path, rounds=60) for _ in range(CLIENTS)]
    acknowledged = [number for client in clients for number in _acknowledged(client.communicate()[0])]
    assert [client.returncode for client in clients] == [0] * CLIENTS
    assert _check(path, acknowledged) == CLIENTS * 60


def test_acknowledged_multis_survive_sigkill_at_any_moment(tmp_path):
    path = tmp_path / "store.db"
    seed = 20110722
    moments = random.Random(seed)
    _create(path)
    acknowledged: list[int] = []
    clients = [_start(path, rounds=1_000_000) for _ in range(2)]
    for kill in range(KILLS):
        victim = clients.pop(0)
        assert victim.stdout is not None
        acknowledged += _acknowledged(victim.stdout.readline())  # it works
        time.sleep(moments.uniform(0.0, 0.1))  # not a wait for something, but the moment of the kill
        victim.send_signal(signal.SIGKILL)
        if kill % 4 == 3:  # now and then all of them, so that the next one recovers the log
            clients[0].send_signal(signal.SIGKILL)
            acknowledged += _acknowledged(clients.pop(0).communicate()[0])
            acknowledged += _acknowledged(victim.communicate()[0])
            _check(path, acknowledged)
            clients.append(_start(path, rounds=1_000_000))
        else:
            acknowledged += _acknowledged(victim.communicate()[0])
        clients.append(_start(path, rounds=1_000_000))
    for client in clients:
        client.kill()
        acknowledged += _acknowledged(client.communicate()[0])
    assert _check(path, acknowledged) >= KILLS


def test_processes_that_create_the_store_at_once_share_one(tmp_path):
    path = tmp_path / "new" / "store.db"
    script = (
        "import sys; from pathlib import Path\n"
        "from qanat.coordination.sqlite_tree import SqliteTree; from qanat.coordination.store import Create\n"
        "tree = SqliteTree(Path(sys.argv[1])); tree.apply([Create('/born/' + sys.argv[2], b'')]); tree.close()"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path), str(who)]) for who in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    tree = SqliteTree(path)
    assert tree.children("/born") == ["0", "1", "2", "3"]
    tree.close()
