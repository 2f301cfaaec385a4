"""What an SQLite error means for the caller of the embedded store."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from qanat.errors import CorruptError, NotConnectedError, OutcomeUnknownError

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NOT_ALLOWED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_ENVIRONMENT = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT}

# A COMMIT that fails so has written no commit frame: SQLite reports a full disk for the write that did not
# fit, and the commit frame is the last thing it writes.
_NOTHING_COMMITTED = _BUSY | {sqlite3.SQLITE_FULL}


def _code(error: Exception) -> int:
    """The primary result code."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def keeps_connection(error: sqlite3.Error) -> bool:
    """The connection is as good as before: the error is about others, or about space."""
    return _code(error) in _NOTHING_COMMITTED


def explain(error: sqlite3.Error | OSError, doing: str, path: Path, *, committing: bool) -> Exception:
    """Our error for `error`, which stopped `doing` on the store at `path`; our own bugs come back
    unchanged."""
    said = f"cannot {doing}, coordination store {path}: {error}"
    if isinstance(error, OSError):
        advice = (
            "free some space" if error.errno == errno.ENOSPC else "check the directory and its permissions"
        )
        return NotConnectedError(f"{said}; {advice}")
    code = _code(error)
    if code in _CORRUPT:
        return CorruptError(
            f"{said}; stop every program that uses it, then restore the file and its -wal from a backup, or"
            " move both away: positions then come from the agents' own state, and events may be stored twice"
        )
    if committing and code not in _NOTHING_COMMITTED:
        return OutcomeUnknownError(f"{said}; it may or may not have been committed: sync, read, then repeat")
    if code in _BUSY:
        return NotConnectedError(
            f"{said}; another process holds it: find one that is stopped (state T in ps)"
        )
    if code == sqlite3.SQLITE_FULL:
        return NotConnectedError(f"{said}; nothing was written: free some space")
    if code in _NOT_ALLOWED:
        return NotConnectedError(f"{said}; this user must be able to write the file and its directory")
    if code in _ENVIRONMENT:
        return NotConnectedError(f"{said} ({getattr(error, 'sqlite_errorname', 'unknown')}); check the disk")
    return error
