"""What a connection of `sqlChannel` is told first, and what it takes that a full disk does not stop the deliveries.

SQLite with a rollback journal, which stays where it is (`PERSIST`), needs no room to open, to read, to move cursors and to
delete: all of that is written over what is there. A write-ahead journal would need some for each of them. So that the journal is
large enough for a deletion, its place is taken in advance.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qanat.errors import RetryableError
from qanat.limits import MIB

SQLITE_BUSY_MS = 10_000  # another agent's transaction takes milliseconds; a slow disk's some seconds

# The longest a connection attempt takes, and the longest that sent bytes may stay unacknowledged by the server's host.
CONNECT_S_MAX = 10
UNACKED_MS_MAX = 30_000

# Of SQLite's journal: two thousand pages. A deletion of `sql_database.DROPS_MAX` rows changes some five hundred of the table,
# as many of its index, and one in a thousand of those that it frees.
JOURNAL_BYTES = 8 * MIB

_SQLITE_FULL = 13
_POSTGRESQL_FULL = "53100"


class DiskFullError(RetryableError):
    """The database has no room; the transaction was certainly not done."""


def is_disk_full(error: object) -> bool:
    """Whether a driver's exception says so."""
    code = getattr(error, "sqlite_errorcode", None)
    return (code is not None and code & 0xFF == _SQLITE_FULL) or (
        getattr(error, "sqlstate", None) == _POSTGRESQL_FULL
    )


def reserve_journal(database: str) -> None:
    """Take the place of the journal of an SQLite file. A disk that has no room any more will do with what there is."""
    if not os.path.isfile(database):
        return  # in memory
    with contextlib.suppress(OSError):
        fd = os.open(Path(f"{database}-journal"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, JOURNAL_BYTES)
        finally:
            os.close(fd)


def options(backend: str, query: Mapping[str, Any]) -> dict[str, Any]:
    """For the engine. `query`: what the URL says itself."""
    if backend != "postgresql":
        return {}
    asked: dict[str, Any] = {"connect_timeout": CONNECT_S_MAX, "tcp_user_timeout": UNACKED_MS_MAX}
    return {"connect_args": {name: value for name, value in asked.items() if name not in query}}


def _set_up_sqlite(connection: Any, record: Any) -> None:
    """A commit is on disk when it returns. What is deleted is not overwritten: that would need room in the journal."""
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
    cursor.execute("PRAGMA journal_mode=PERSIST")
    cursor.execute("PRAGMA journal_size_limit=-1")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA secure_delete=OFF")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.close()


def _set_up_postgresql(connection: Any, record: Any) -> None:
    """A transaction of an agent that is gone must not keep its row locked for hours, as TCP would by default."""
    cursor = connection.cursor()
    cursor.execute("SET idle_in_transaction_session_timeout = '30s'")
    cursor.execute("SET lock_timeout = '30s'")
    for name, value in (("idle", 15), ("interval", 5), ("count", 3)):
        cursor.execute(f"SET tcp_keepalives_{name} = {value}")
    cursor.close()
    connection.commit()


# By SQLAlchemy's name of the dialect.
SET_UP: Mapping[str, Callable[[Any, Any], None]] = {
    "sqlite": _set_up_sqlite,
    "postgresql": _set_up_postgresql,
}
