"""What a connection of `sqlChannel` is told first, and what it takes that a full disk does not stop the deliveries.

SQLite with a rollback journal, which stays where it is (`PERSIST`), needs no room to open, to read, to move cursors and to
delete: all of that is written over what is there. A write-ahead journal would need some for each of them. So that the journal is
large enough for a deletion, its place is taken in advance.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from qanat.component import Wrong
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


# As SQLAlchemy reads them, as far as it concerns us; it need not be installed where a flow is checked.
_URL = re.compile(r"[\w+]+:(//(?P<user>[^:/]*)(:(?P<password>[^@]*))?@)?")
_PASSWORD_IN_QUERY = re.compile(r"[?&]password=", re.IGNORECASE)


class DiskFullError(RetryableError):
    """The database has no room; the transaction was certainly not done."""


def check_database(url: str, password_file: str, password_env: str) -> Iterator[Wrong]:
    """What is wrong with where a database is said to be, and how its password is found."""
    found = _URL.match(url)
    if url and (found is None or "://" not in url):
        yield Wrong(
            "url",
            'that is no URL of a database; write for example url="postgresql://user@host/database"',
            True,
        )
    elif found is not None and (found["password"] is not None or _PASSWORD_IN_QUERY.search(url)):
        yield Wrong(
            "url",
            'a password in it would be shown to everybody who may see the flow; write password_file="/path" or '
            'password_env="NAME" instead',
            True,
        )
    if password_file and password_env:
        yield Wrong("password_env", "the password comes from password_file already; give one of the two")
    for name, value in (("password_file", password_file), ("password_env", password_env)):
        if value and not url:
            yield Wrong(
                name, "without url the channel is a file of its own, which has no password; give the url, too"
            )


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
