"""Sessions and watches of the embedded store: processes that die or stop, and what it costs. See also the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qanat.coordination import sqlite_ops
from qanat.coordination.embedded import EmbeddedStore
from qanat.coordination.sqlite_tree import SessionGoneError, SqliteTree
from qanat.coordination.store import Create, Node, SessionState, Set

WAIT_S_MAX = 30.0

# A process with an ephemeral node; it says when it has a session, and which.
PROCESS = """
import asyncio, contextlib, sys
from pathlib import Path
import structlog
from qanat.coordination.embedded import EmbeddedStore
from qanat.coordination.store import Create, SessionState

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    store = EmbeddedStore(Path(sys.argv[1]), session_timeout_s=3.0)
    async for session in store.session_changes():
        if session.state is SessionState.CONNECTED:
            with contextlib.suppress(Exception):
                await store.multi([Create(f"/live/{session.id}", b"", ephemeral=True)])
                print(session.id, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def tree(path):
    tree = SqliteTree(path)
    yield tree
    tree.close()


@pytest.fixture
def process(path):
    started = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield started
    started.kill()
    started.communicate()


async def until_gone(path, node):
    store = EmbeddedStore(path)
    try:
        assert await store.get(node) is not None
        async with asyncio.timeout(WAIT_S_MAX), contextlib.aclosing(store.watch(node)) as changes:
            async for _ in store.session_changes():  # somebody has to look after the dead
                break
            async for _ in changes:
                if await store.get(node) is None:
                    return
    finally:
        await store.close()


def test_killed_process_is_found_dead_by_who_watches_it(process, path, run):
    node = f"/live/{process.stdout.readline().strip()}"
    process.kill()
    run(until_gone(path, node))


def test_killed_process_is_found_dead_by_who_only_reads(process, path, tree):
    process.stdout.readline()
    assert len(tree.children("/live")) == 1
    process.kill()
    deadline_s = time.monotonic() + WAIT_S_MAX
    while tree.children("/live"):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_stopped_process_loses_its_session_and_gets_another_when_it_wakes(process, path, run):
    first = process.stdout.readline().strip()
    process.send_signal(signal.SIGSTOP)
    run(until_gone(path, f"/live/{first}"))
    process.send_signal(signal.SIGCONT)
    assert int(process.stdout.readline()) > int(first)


def test_request_in_a_session_that_has_ended_does_nothing(tree):
    session_id = tree.open_session(60.0)
    tree.apply([Create("/a", b"0"), Create("/me", b"", ephemeral=True)], session_id)
    tree.end_session(session_id)
    with pytest.raises(SessionGoneError, match="not done"):
        tree.apply([Set("/a", b"1", 0)], session_id)
    assert tree.get_many(["/a", "/me"]) == [Node(b"0", 0), None]
    tree.apply([Set("/a", b"1", 0)])  # who has no session needs none


def test_client_that_lost_its_session_commits_only_in_another(path, tree, run):
    async def scenario():
        store = EmbeddedStore(path)
        await store.multi([Create("/me", b"", ephemeral=True), Create("/a", b"0")])
        first = store.session.id
        await asyncio.to_thread(end, first)
        with pytest.raises(SessionGoneError):
            await store.multi([Set("/a", b"1", 0)])
        await store.multi([Set("/a", b"2", 0)])
        assert store.session.id > first
        await store.close()

    def end(session_id):
        other = SqliteTree(path)
        other.end_session(session_id)
        other.close()

    run(scenario())


def test_session_lives_while_the_stores_thread_is_busy(path, run):
    async def scenario():
        store, other = EmbeddedStore(path, session_timeout_s=2.0), EmbeddedStore(path)
        await store.multi([Create("/me", b"", ephemeral=True)])
        busy = store._thread.submit(time.sleep, 4.0)  # as a sync of a busy disk would be
        while not busy.done():
            assert await other.get("/me") is not None
            await asyncio.sleep(0.1)
        await store.close()
        await other.close()

    run(scenario())


def test_session_ids_are_never_given_twice(tree):
    first = tree.open_session(60.0)
    tree.end_session(first)
    assert tree.open_session(60.0) > first


def test_sessions_of_before_a_restart_of_the_machine_are_dead(tree, path):
    session_id = tree.open_session(3600.0)
    tree.apply([Create("/me", b"", ephemeral=True)], session_id)
    db = sqlite3.connect(path)
    db.execute("UPDATE session SET boot = 'another'")
    db.commit()
    db.close()
    tree.beat(session_id)
    tree.expire_sessions()
    assert tree.get_many(["/me"]) == [None]


def test_heartbeats_keep_a_session_alive_and_are_not_in_the_database(tree, path):
    session_id = tree.open_session(0.5)
    wal = Path(f"{path}-wal").stat().st_mtime_ns
    for _ in range(30):
        tree.beat(session_id)
        tree.expire_sessions()
        time.sleep(0.02)  # the passing of time is what is tested
    assert tree.session_lives(session_id)
    assert Path(f"{path}-wal").stat().st_mtime_ns == wal
    (heard_ns,) = struct.unpack("=q", Path(f"{path}-beats").read_bytes()[session_id * 8 :][:8])
    assert 0 <= time.clock_gettime_ns(time.CLOCK_BOOTTIME) - heard_ns < 60e9


def test_heartbeats_are_private_to_their_owner(tree, path):
    old = os.umask(0)
    try:
        tree.open_session(60.0)
    finally:
        os.umask(old)
    assert Path(f"{path}-beats").stat().st_mode & 0o777 == 0o600


def test_store_of_the_first_schema_is_extended_and_keeps_what_it_has(path):
    db = sqlite3.connect(path)
    for statement in (
        "PRAGMA journal_mode=WAL",
        "CREATE TABLE node (path TEXT NOT NULL PRIMARY KEY, parent TEXT NOT NULL, version INTEGER NOT NULL,"
        " value BLOB NOT NULL)",
        "CREATE INDEX node_parent ON node (parent)",
        "CREATE TABLE barrier (passed INTEGER NOT NULL)",
        "INSERT INTO barrier VALUES (0)",
        "INSERT INTO node VALUES ('/', '', 0, x''), ('/a', '/', 7, x'31')",
        f"PRAGMA application_id={0x51414E54}",
        "PRAGMA user_version=1",
    ):
        db.execute(statement)
    db.commit()
    db.close()
    for _ in range(2):
        tree = SqliteTree(path)
        assert tree.get_many(["/a"]) == [Node(b"1", 7)]
        tree.close()
    tree.apply([Create("/me", b"", ephemeral=True)], tree.open_session(60.0))
    assert tree.get_many(["/me"])[0].owner == 1
    tree.close()


def test_who_falls_behind_the_changes_is_told_that_anything_may_have_changed(tree, monkeypatch):
    monkeypatch.setattr(sqlite_ops, "CHANGES_MAX", 16)
    tree.apply([Create("/a", b"")])
    seen, _ = tree.changes_since(None)
    tree.apply([Set("/a", b"", 0)])
    assert tree.changes_since(seen) == (seen + 1, {"/a"})
    for version in range(1, 50):
        tree.apply([Set("/a", b"", version)])
    last, changed = tree.changes_since(seen)
    assert (last, changed) == (seen + 50, None)
    db = sqlite3.connect(tree.path)
    (kept,) = db.execute("SELECT count(*) FROM change").fetchone()
    db.close()
    assert kept <= 18


def test_store_that_cannot_be_reached_suspends_its_session(path, run):
    def move(old, new):
        for file in ("", "-wal"):
            Path(f"{path}{file}{old}").rename(f"{path}{file}{new}")

    async def scenario():
        store = EmbeddedStore(path, busy_s_max=0.05)
        async with contextlib.aclosing(store.session_changes()) as sessions:
            async for session in sessions:
                if session.state is SessionState.CONNECTED:
                    break
            move("", "-away")
            async with asyncio.timeout(WAIT_S_MAX):
                assert (await anext(sessions)).state is SessionState.SUSPENDED
            move("-away", "")
            async with asyncio.timeout(WAIT_S_MAX):
                assert await anext(sessions) == session
        await store.close()

    run(scenario())
