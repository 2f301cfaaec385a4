"""The tables of the embedded store, and what makes an SQLite file one of ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from qanat.coordination.request import ROOT
from qanat.errors import ConfigError

APPLICATION_ID = 0x51414E54  # "QANT": tells our files from other SQLite databases
SCHEMA_VERSION = 2

_SCHEMA_1 = (
    "CREATE TABLE node (path TEXT NOT NULL PRIMARY KEY, parent TEXT NOT NULL, version INTEGER NOT NULL,"
    " value BLOB NOT NULL)",
    "CREATE INDEX node_parent ON node (parent)",
    "CREATE TABLE barrier (passed INTEGER NOT NULL)",
    "INSERT INTO barrier VALUES (0)",
    f"INSERT INTO node VALUES ('{ROOT}', '', 0, x'')",
    f"PRAGMA application_id={APPLICATION_ID}",
)

# Sessions, the ephemeral nodes that they own, and which paths changed lately, for those who watch. An id is never given
# twice (AUTOINCREMENT): who remembers an old one must not take another's nodes for its own.
_SCHEMA_2 = (
    "ALTER TABLE node ADD COLUMN owner INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX node_owner ON node (owner) WHERE owner != 0",
    "CREATE TABLE session (id INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, timeout_ns INTEGER NOT NULL)",
    "CREATE TABLE change (seq INTEGER PRIMARY KEY, path TEXT NOT NULL)",
    f"PRAGMA user_version={SCHEMA_VERSION}",
)


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Check whose file it is, set the modes, create or extend the schema. The caller holds the lock.

    Raises ConfigError for a file that is not ours, or of a later release."""
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
    # Checkpoints come in quiet moments, not inside somebody's commit.
    db.execute("PRAGMA wal_autocheckpoint=0")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if not tables or version == 1:
        _extend(db, _SCHEMA_2 if tables else (*_SCHEMA_1, *_SCHEMA_2))
    elif version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}; use one release"
        )


def _extend(db: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in statements:
        db.execute(statement)
    db.execute("COMMIT")
