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
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from qanat.coordination.filelock import FileLock
from qanat.coordination.request import check_path, check_request, name_of
from qanat.coordination.sqlite_errors import explain, keeps_connection
from qanat.coordination.sqlite_ops import apply_all, changes_since, read
from qanat.coordination.sqlite_schema import prepare
from qanat.coordination.sqlite_sessions import Sessions
from qanat.coordination.store import VALUE_BYTES_MAX, Node, Op
from qanat.durable import sync_directory
from qanat.errors import CorruptError, NotConnectedError, OutcomeUnknownError

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

# How often a reader looks for sessions whose processes died: they are found this much later than they could be.
EXPIRY_S = 1.0


class SessionGoneError(NotConnectedError):
    """The session of the request was ended, because its process was not heard of; nothing was done."""


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
        self._sessions = Sessions(path)
        self._expired_s = float("-inf")

    @property
    def checkpoint_due(self) -> bool:
        """Enough was written that the next quiet moment should be used for a checkpoint."""
        return self._log_bytes >= CHECKPOINT_BYTES

    def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """The nodes as they are now, in the order of `paths`."""
        self._expire_sometimes()
        with self._connected(f"read {len(paths)} nodes") as db:
            return [read(db, check_path(path)) for path in paths]

    def children(self, path: str) -> list[str]:
        """Names of the children, sorted."""
        self._expire_sometimes()
        with self._connected(f"list the children of {path}") as db:
            rows = db.execute("SELECT path FROM node WHERE parent = ?", (check_path(path),)).fetchall()
        return sorted(name_of(child) for (child,) in rows)

    def apply(self, ops: Sequence[Op], session_id: int = 0) -> None:
        """All of `ops` in order, or none, in a session (0: none). Raises Conflict and SessionGoneError as well."""
        check_request(ops, VALUE_BYTES_MAX)
        with self._writing(f"apply {len(ops)} operations") as db:
            if session_id and not self._sessions.lives(db, session_id):
                raise SessionGoneError(f"session {session_id} has expired; {len(ops)} operations not done")
            apply_all(db, ops, session_id)
        self._log_bytes += sum(_OPERATION_LOG_BYTES + len(getattr(op, "value", b"")) for op in ops)

    def changes_since(self, seen: int | None) -> tuple[int, set[str] | None]:
        """The number of the last change, and the paths that changed after number `seen` (None: perhaps all)."""
        with self._connected("look for changes") as db:
            return changes_since(db, seen)

    def written_ns(self) -> int:
        """When somebody committed last, as a file time; 0 when that is not known. *Thread*: any. *Blocking*: no disk."""
        try:
            return os.stat(f"{self.path}-wal").st_mtime_ns
        except OSError:
            return 0

    def open_session(self, timeout_s: float) -> int:
        """The id of a new session, which `beat` has to keep alive."""
        with self._writing("open a session") as db:
            return self._sessions.open(db, timeout_s)

    def beat(self, session_id: int) -> None:
        """The process of the session is alive. *Thread*: any. *Blocking*: no disk. Raises NotConnectedError."""
        try:
            self._sessions.beat(session_id)
        except OSError as error:
            raise explain(error, "write a heartbeat", self.path, committing=False) from error

    def session_lives(self, session_id: int) -> bool:
        """Nobody has ended it."""
        with self._connected("look after a session") as db:
            return self._sessions.lives(db, session_id)

    def end_session(self, session_id: int) -> None:
        """Delete it and its nodes."""
        with self._writing("end a session") as db:
            self._sessions.end(db, session_id)

    def expire_sessions(self) -> None:
        """End those whose processes are dead or stopped. Writes nothing when there is none."""
        self._expired_s = time.monotonic()
        with self._connected("look for dead sessions") as db:
            dead = self._sessions.dead(db)
        if dead:
            with self._writing("end dead sessions") as db:
                for session_id in self._sessions.dead(db):  # again: one may have been heard of meanwhile
                    self._sessions.end(db, session_id)

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
        self._sessions.close()
        self._lock.close()

    def _expire_sometimes(self) -> None:
        """Before a read, so that nobody reads of the dead. Not done is no failure of the read."""
        if time.monotonic() - self._expired_s > EXPIRY_S:
            with contextlib.suppress(NotConnectedError, OutcomeUnknownError):
                self.expire_sessions()

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A transaction, committed at the end, rolled back when the caller raises."""
        with self._connected(doing) as db, self._lock:
            db.execute("BEGIN IMMEDIATE")
            yield db
            self._commit(db)

    @contextlib.contextmanager
    def _connected(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A connection; SQLite's errors become ours, and no transaction stays open behind the caller."""
        try:
            yield self._open()
        except sqlite3.Error as error:
            if not keeps_connection(error):
                self._drop()
            raise explain(error, doing, self.path, committing=False) from error
        except OSError as error:
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
                prepare(db, self.path)
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
        sync_directory(path.parent)
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
