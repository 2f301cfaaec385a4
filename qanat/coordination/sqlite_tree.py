"""The embedded store's tree: one SQLite file, shared by the processes of one machine. Everything here blocks.

How it keeps its promises:

* WAL mode with `synchronous=FULL`: a commit returns after its frames were synced.
* Every write transaction and every checkpoint holds an advisory lock (`<file>-lock`). Waiting for it takes
  steps of 1 ms, where SQLite's own busy handler sleeps up to 100 ms; and it keeps a checkpoint from running
  beside a commit, which before SQLite 3.51.3 can lose committed pages
  (https://sqlite.org/wal.html#walresetbug).
* Every connection begins with a commit of its own. A process killed between writing and syncing its frames
  leaves a transaction that the next process sees, though a power failure could still take it back; a sync
  covers it.
* After a COMMIT with unknown outcome, `sync` does the same: it settles the log, or says that it can't.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from qanat.coordination.filelock import FileLock
from qanat.coordination.request import ROOT, check_path, check_request, name_of, parent_of
from qanat.coordination.sqlite_errors import explain, keeps_connection
from qanat.coordination.store import Check, Conflict, Create, Delete, Node, Op, Set
from qanat.errors import ConfigError, CorruptError, NotConnectedError, OutcomeUnknownError

APPLICATION_ID = 0x51414E54  # "QANT": tells our files from other SQLite databases
SCHEMA_VERSION = 1

# How long one call waits for other processes. A commit takes a millisecond; who waits longer waits for a
# process that is stopped.
BUSY_S_MAX = 5.0

# Log bytes written by this process after which a checkpoint is due: at 20 commits a second of two pages
# each that is every ten seconds, and recovery reads such a log in milliseconds. Measured: a commit takes
# 0.6 ms while the log grows, and 0.35 ms when it overwrites, which it does after the first checkpoint
# because the file keeps its length.
CHECKPOINT_BYTES = 2 << 20

# Log bytes that one operation costs, besides its value: a leaf page, perhaps an index page, and their
# headers.
_OPERATION_LOG_BYTES = 8 << 10

_SCHEMA = (
    "CREATE TABLE node (path TEXT NOT NULL PRIMARY KEY, parent TEXT NOT NULL, version INTEGER NOT NULL,"
    " value BLOB NOT NULL)",
    "CREATE INDEX node_parent ON node (parent)",
    "CREATE TABLE barrier (passed INTEGER NOT NULL)",
    "INSERT INTO barrier VALUES (0)",
    f"INSERT INTO node VALUES ('{ROOT}', '', 0, x'')",
    f"PRAGMA application_id={APPLICATION_ID}",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)


class SqliteTree:
    """Versioned nodes in `path`. Opens at the first call, and again after an error that may hurt the
    connection.

    *Thread*: all calls from one. *Blocking*: a disk sync for `apply`; `busy_s_max` when others hold the file.
    Raises NotConnectedError (nothing was done), OutcomeUnknownError (from `apply`), CorruptError.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_s_max: float = BUSY_S_MAX,
        connection: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = path
        self._connection = connection  # tests pass one that fails
        self._busy_s_max = busy_s_max
        self._lock = FileLock(Path(f"{path}-lock"), wait_s_max=busy_s_max)
        self._db: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._in_doubt = False
        self._log_bytes = 0

    @property
    def checkpoint_due(self) -> bool:
        """Enough was written that the next quiet moment should be used for a checkpoint."""
        return self._log_bytes >= CHECKPOINT_BYTES

    def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """The nodes as they are now, in the order of `paths`."""
        with self._connected(f"read {len(paths)} nodes") as db:
            return [_read(db, check_path(path)) for path in paths]

    def children(self, path: str) -> list[str]:
        """Names of the children, sorted."""
        with self._connected(f"list the children of {path}") as db:
            rows = db.execute("SELECT path FROM node WHERE parent = ?", (check_path(path),)).fetchall()
        return sorted(name_of(child) for (child,) in rows)

    def apply(self, ops: Sequence[Op]) -> None:
        """All of `ops` in order, or none. Raises Conflict as well."""
        check_request(ops)
        with self._connected(f"apply {len(ops)} operations") as db, self._lock:
            db.execute("BEGIN IMMEDIATE")
            for index, op in enumerate(ops):
                _apply_one(db, index, op)
            self._commit(db)
        self._log_bytes += sum(_OPERATION_LOG_BYTES + len(getattr(op, "value", b"")) for op in ops)

    def sync(self) -> None:
        """Settle what is in doubt. Reads always see every commit, so there is nothing else to do."""
        with self._connected("sync") as db:
            if self._in_doubt:
                self._pass_barrier(db)

    def checkpoint(self) -> None:
        """Move committed pages from the log to the database file.

        Failure is harmless: the log grows until a later one succeeds, or a commit says what is wrong."""
        self._log_bytes = 0
        with self._connected("checkpoint") as db, self._lock:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Release the file; idempotent. The next call would open it again."""
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()
        self._lock.close()

    @contextlib.contextmanager
    def _connected(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A connection; SQLite's errors become ours, and no transaction stays open behind the caller."""
        try:
            yield self._open()
        except sqlite3.Error as error:
            if not keeps_connection(error):
                self._drop()
            raise explain(error, doing, self.path, committing=False) from error
        except OutcomeUnknownError:
            self._drop()
            raise
        finally:
            if self._db is not None and self._db.in_transaction:
                self._roll_back(self._db)

    def _roll_back(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("ROLLBACK")
        except sqlite3.Error:
            self._drop()  # closing it rolls back as well

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def _commit(self, db: sqlite3.Connection) -> None:
        try:
            db.execute("COMMIT")
        except sqlite3.Error as error:
            failure = explain(error, "commit", self.path, committing=True)
            self._in_doubt = self._in_doubt or isinstance(failure, OutcomeUnknownError)
            raise failure from error
        self._in_doubt = False  # its frames lie where those in doubt were, or after them; both are synced

    def _pass_barrier(self, db: sqlite3.Connection) -> None:
        try:
            with self._lock:
                db.execute("BEGIN IMMEDIATE")
                db.execute("UPDATE barrier SET passed = passed + 1")
                self._commit(db)
        except OutcomeUnknownError as error:
            self._drop()
            raise NotConnectedError(f"could not settle the log, did nothing else: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = self._connect()
        elif _identity(self.path) != self._identity:
            raise CorruptError(
                f"coordination store {self.path} was deleted or replaced while in use; stop every program"
                " that uses it, put the file back (or accept that positions are lost), and start them again"
            )
        return self._db

    def _connect(self) -> sqlite3.Connection:
        _create_private(self.path)
        self._identity = _identity(self.path)
        # mode=rw: a file that vanishes in between is an error, not a new database that everybody can read.
        uri = f"file:{quote(str(self.path))}?mode=rw"
        db = sqlite3.connect(
            uri, uri=True, timeout=self._busy_s_max, isolation_level=None, factory=self._connection
        )
        try:
            with self._lock:
                _prepare(db, self.path)
            self._pass_barrier(db)
        except BaseException:
            db.close()
            raise
        return db


def _create_private(path: Path) -> None:
    """An empty file that only its owner reads, in a directory that lists it even after a power failure.

    Never opens a file that exists: closing it again would drop the locks of this process's other
    connections."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.is_file():
            return
        raise explain(error, "create", path, committing=False) from error


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check whose file it is, set the modes, create the schema in a new file. The caller holds the lock."""
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application_id != APPLICATION_ID:
        raise ConfigError(f"{path} is an SQLite database, but not a Qanat store; name another file")
    (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise ConfigError(
            f"the file system of {path} has no shared memory for SQLite's WAL mode; use a local disk"
        )
    db.execute("PRAGMA synchronous=FULL")
    db.execute(
        "PRAGMA wal_autocheckpoint=0"
    )  # checkpoints come in quiet moments, not inside somebody's commit
    if not tables:
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("COMMIT")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; use one release"
        )


def _read(db: sqlite3.Connection, path: str) -> Node | None:
    row = db.execute("SELECT value, version FROM node WHERE path = ?", (path,)).fetchone()
    return None if row is None else Node(value=row[0], version=row[1])


def _apply_one(db: sqlite3.Connection, index: int, op: Op) -> None:
    match op:
        case Create(path, value):
            _create(db, index, path, value)
        case Set(path, value, version):
            changed = db.execute(
                "UPDATE node SET value = ?, version = version + 1 WHERE path = ? AND version = ?",
                (value, path, version),
            )
            if changed.rowcount == 0:
                _refuse_version(db, index, path, version)
        case Check(path, version):
            _refuse_version(db, index, path, version)
        case Delete(path, version):
            _refuse_version(db, index, path, version)
            _delete(db, index, path)


def _refuse_version(db: sqlite3.Connection, index: int, path: str, version: int) -> None:
    """Raise Conflict unless the node exists in this version."""
    row = db.execute("SELECT version FROM node WHERE path = ?", (path,)).fetchone()
    if row is None:
        raise Conflict(index, path, "does not exist")
    if row[0] != version:
        raise Conflict(index, path, f"has version {row[0]}, not {version}")


def _create(db: sqlite3.Connection, index: int, path: str, value: bytes) -> None:
    insert = "INSERT OR IGNORE INTO node VALUES (?, ?, 0, ?)"
    if db.execute(insert, (path, parent_of(path), value)).rowcount == 0:
        raise Conflict(index, path, "exists")
    above = parent_of(path)
    while db.execute(insert, (above, parent_of(above), b"")).rowcount == 1:
        above = parent_of(above)


def _delete(db: sqlite3.Connection, index: int, path: str) -> None:
    if path == ROOT:
        raise Conflict(index, path, "is the root")
    if db.execute("SELECT 1 FROM node WHERE parent = ? LIMIT 1", (path,)).fetchone():
        raise Conflict(index, path, "has children")
    db.execute("DELETE FROM node WHERE path = ?", (path,))
