"""The embedded store's own behaviour: files, disk faults, other processes. See also the contract suite."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from qanat.coordination import sqlite_tree
from qanat.coordination.embedded import EmbeddedStore
from qanat.coordination.filelock import FileLock
from qanat.coordination.open import open_store
from qanat.coordination.sqlite_tree import SqliteTree
from qanat.coordination.store import Conflict, Create, Node, Set
from qanat.errors import ConfigError, CorruptError, NotConnectedError, OutcomeUnknownError

BUSY_S = 0.05


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def tree(path):
    tree = SqliteTree(path, busy_s_max=BUSY_S)
    yield tree
    tree.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, and a file on it that fills it up."""
    mountpoint = tmp_path / "disk"
    mountpoint.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mountpoint)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield mountpoint
    subprocess.run(["umount", "--lazy", str(mountpoint)], check=True)


@pytest.mark.parametrize("url", ["", "store.db", "zk:a:2181", "embedded:", "embedded:/dir/"])
def test_open_store_refuses_a_url_it_does_not_understand(url):
    with pytest.raises(ConfigError, match="embedded:/path/to"):
        open_store(url)


def test_every_file_is_private_to_its_owner(tree, path):
    old = os.umask(0)
    try:
        tree.apply([Create("/a", b"secret")])
    finally:
        os.umask(old)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {f"store.db{end}": 0o600 for end in ("", "-wal", "-shm", "-lock")}


def test_missing_directories_are_created_private(tmp_path):
    tree = SqliteTree(tmp_path / "a" / "b" / "store.db")
    tree.apply([Create("/a", b"")])
    tree.close()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_nothing_is_touched_before_the_first_call(tmp_path):
    open_store(f"embedded:{tmp_path}/store.db")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_keep_the_log_from_growing(path, run, monkeypatch):
    monkeypatch.setattr(sqlite_tree, "CHECKPOINT_BYTES", 64 << 10)

    log = Path(f"{path}-wal")

    async def scenario():
        store = EmbeddedStore(path)
        await store.multi([Create("/a", b"")])
        for version in range(200):
            await store.multi([Set("/a", b"x" * 1000, version)])
        size = await asyncio.to_thread(os.path.getsize, log)
        await store.close()
        return size

    assert run(scenario()) < 400 << 10  # 200 commits of two pages are 1.6 MB


def test_calls_block_a_thread_of_the_store_and_not_the_event_loop(path, run, monkeypatch):
    where = []
    original = SqliteTree.apply
    monkeypatch.setattr(
        SqliteTree, "apply", lambda *args: (where.append(threading.current_thread()), original(*args))
    )

    async def scenario():
        store = EmbeddedStore(path)
        await store.multi([Create("/a", b"")])
        await store.close()

    run(scenario())
    assert [thread.name for thread in where] == ["qanat-store_0"]
    assert where[0] is not threading.main_thread()


def test_forked_child_is_told_to_open_its_own(path, run):
    store = EmbeddedStore(path)
    run(store.get("/a"))
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(store.get("/a"))
        except RuntimeError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run(store.close())


def test_call_is_not_connected_while_another_writer_holds_the_file(tree, path):
    tree.apply([Create("/a", b"0")])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(NotConnectedError, match="another process"):
        tree.apply([Set("/a", b"1", 0)])
    assert tree.get_many(["/a"]) == [Node(b"0", 0)]
    other.execute("ROLLBACK")
    tree.apply([Set("/a", b"1", 0)])
    other.close()


def test_call_is_not_connected_while_a_stopped_process_holds_the_lock(tree, path):
    tree.apply([Create("/a", b"0")])
    other = FileLock(Path(f"{path}-lock"), wait_s_max=0)
    with other, pytest.raises(NotConnectedError, match="lslocks"):
        tree.apply([Set("/a", b"1", 0)])
    other.close()
    tree.apply([Set("/a", b"1", 0)])


def test_store_comes_back_when_its_directory_does(tmp_path):
    (tmp_path / "dir").write_text("a file where a directory should be")
    tree = SqliteTree(tmp_path / "dir" / "store.db")
    for _ in range(2):
        with pytest.raises(NotConnectedError, match="cannot create"):
            tree.get_many(["/a"])
    (tmp_path / "dir").unlink()
    tree.apply([Create("/a", b"")])
    tree.close()


def fill_up(filler):
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def change_often(tree):
    for version in range(100):
        tree.apply([Set("/a", b"x" * 10_000, version)])


def test_full_disk_means_nothing_was_done_and_ends_with_the_disk(small_disk):
    tree = SqliteTree(small_disk / "store.db")
    tree.apply([Create("/a", b"0")])
    filler = small_disk / "filler"
    fill_up(filler)
    with pytest.raises(NotConnectedError, match="free some space"):
        change_often(tree)
    before = tree.get_many(["/a"])[0]
    assert before is not None
    filler.unlink()
    tree.apply([Set("/a", b"after", before.version)])
    assert tree.get_many(["/a"]) == [Node(b"after", before.version + 1)]
    tree.close()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 8192])
def test_file_that_is_no_database_is_corrupt(path, tree, content):
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(CorruptError, match="backup"):
            tree.get_many(["/a"])


def test_overwritten_pages_are_corrupt_and_never_an_answer(path):
    tree = SqliteTree(path)
    tree.apply([Create(f"/a/{n}", b"x" * 500) for n in range(200)])
    tree.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    with pytest.raises(CorruptError):
        tree.get_many(["/a/7"])
    tree.close()


def test_database_of_another_program_is_refused_and_left_alone(path, tree):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigError, match="not a Qanat store"):
            tree.apply([Create("/a", b"")])
    assert path.read_bytes() == before


def test_file_of_a_later_schema_is_refused(path, tree):
    tree.apply([Create("/a", b"")])
    tree.close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version=99")
    other.close()
    with pytest.raises(ConfigError, match="version 99"):
        tree.get_many(["/a"])


def test_deleted_file_is_noticed_before_a_commit_is_acknowledged(path, tree):
    tree.apply([Create("/a", b"0")])
    path.unlink()
    with pytest.raises(CorruptError, match="deleted or replaced"):
        tree.apply([Set("/a", b"1", 0)])


class FailingCommit(sqlite3.Connection):
    """A connection whose next COMMIT fails with `code`, before or after it took effect."""

    code: int | None = None
    takes_effect = False

    def execute(self, sql, *args):
        if sql != "COMMIT" or self.code is None:
            return super().execute(sql, *args)
        error = sqlite3.OperationalError("injected")
        error.sqlite_errorcode, FailingCommit.code = self.code, None
        if self.takes_effect:
            super().execute(sql)
        raise error


@pytest.fixture
def failing(path):
    tree = SqliteTree(path, connection=FailingCommit)
    tree.apply([Create("/a", b"0")])
    yield tree
    FailingCommit.code, FailingCommit.takes_effect = None, False
    tree.close()


@pytest.mark.parametrize("takes_effect", [False, True])
def test_commit_with_an_io_error_has_an_unknown_outcome_that_sync_settles(failing, takes_effect):
    FailingCommit.code, FailingCommit.takes_effect = sqlite3.SQLITE_IOERR_FSYNC, takes_effect
    with pytest.raises(OutcomeUnknownError, match="sync, read"):
        failing.apply([Set("/a", b"1", 0)])
    FailingCommit.code = sqlite3.SQLITE_IOERR_FSYNC
    with pytest.raises(NotConnectedError):  # not settled yet, and says so
        failing.sync()
    failing.sync()
    assert failing.get_many(["/a"]) == [Node(b"1", 1) if takes_effect else Node(b"0", 0)]


def test_commit_on_a_full_disk_did_nothing(failing):
    FailingCommit.code = sqlite3.SQLITE_FULL
    with pytest.raises(NotConnectedError, match="nothing was written"):
        failing.apply([Set("/a", b"1", 0)])
    assert failing.get_many(["/a"]) == [Node(b"0", 0)]
    failing.apply([Set("/a", b"1", 0)])


def test_conflict_leaves_no_transaction_open(failing, path):
    with pytest.raises(Conflict):
        failing.apply([Create("/b", b""), Create("/a", b"")])
    other = SqliteTree(path, busy_s_max=BUSY_S)
    other.apply([Create("/b", b"")])
    other.close()
