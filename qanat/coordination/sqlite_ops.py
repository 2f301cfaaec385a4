"""The operations of a multi as SQL, and the paths that they changed, for those who watch."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from qanat.coordination.request import ROOT, parent_of
from qanat.coordination.store import Check, Conflict, Create, Delete, Node, Op, Set

# Changed paths that are kept for watchers. One that looks ten times a second falls behind after 20,000 commits a
# second; who was stopped for longer is told that anything may have changed.
CHANGES_MAX = 2048

_INSERT = "INSERT OR IGNORE INTO node (path, parent, version, value, owner) VALUES (?, ?, 0, ?, ?)"


def read(db: sqlite3.Connection, path: str) -> Node | None:
    """The node at `path`."""
    row = db.execute("SELECT value, version, owner FROM node WHERE path = ?", (path,)).fetchone()
    return None if row is None else Node(*row)


def apply_all(db: sqlite3.Connection, ops: Sequence[Op], session_id: int) -> None:
    """All of them in order, inside the caller's transaction; the caller rolls back when it raises Conflict."""
    changed: set[str] = set()
    for index, op in enumerate(ops):
        _apply_one(db, index, op, session_id, changed)
    log_changes(db, changed)


def log_changes(db: sqlite3.Connection, paths: set[str]) -> None:
    """Remember that `paths` changed, and forget what changed long ago."""
    for path in paths:
        last = db.execute("INSERT INTO change (path) VALUES (?)", (path,)).lastrowid or 0
        if last % (CHANGES_MAX // 8) == 0:  # not each time: it touches the other end of the table
            db.execute("DELETE FROM change WHERE seq <= ?", (last - CHANGES_MAX,))


def changes_since(db: sqlite3.Connection, seen: int | None) -> tuple[int, set[str] | None]:
    """The number of the last change, and what changed after number `seen`: None when that is not known any more."""
    first, last = db.execute("SELECT min(seq), max(seq) FROM change").fetchone()
    if last is None or last == seen:
        return last or 0, set()
    if seen is None or seen + 1 < first:
        return last, None
    return last, {path for (path,) in db.execute("SELECT path FROM change WHERE seq > ?", (seen,))}


def _apply_one(db: sqlite3.Connection, index: int, op: Op, session_id: int, changed: set[str]) -> None:
    match op:
        case Create(path, value, ephemeral):
            _create(db, index, path, value, session_id if ephemeral else 0, changed)
        case Set(path, value, version):
            done = db.execute(
                "UPDATE node SET value = ?, version = version + 1 WHERE path = ? AND version = ?",
                (value, path, version),
            )
            if done.rowcount == 0:
                _refuse_version(db, index, path, version)
            changed.add(path)
        case Check(path, version):
            _refuse_version(db, index, path, version)
        case Delete(path, version):
            _refuse_version(db, index, path, version)
            _delete(db, index, path)
            changed |= {path, parent_of(path)}


def _refuse_version(db: sqlite3.Connection, index: int, path: str, version: int) -> None:
    """Raise Conflict unless the node exists in this version."""
    row = db.execute("SELECT version FROM node WHERE path = ?", (path,)).fetchone()
    if row is None:
        raise Conflict(index, path, "does not exist")
    if row[0] != version:
        raise Conflict(index, path, f"has version {row[0]}, not {version}")


def _create(
    db: sqlite3.Connection, index: int, path: str, value: bytes, owner: int, changed: set[str]
) -> None:
    above = parent_of(path)
    if db.execute(_INSERT, (path, above, value, owner)).rowcount == 0:
        raise Conflict(index, path, "exists")
    changed |= {path, above}
    while db.execute(_INSERT, (above, parent_of(above), b"", 0)).rowcount == 1:
        above = parent_of(above)
        changed.add(above)
    if db.execute("SELECT owner FROM node WHERE path = ?", (above,)).fetchone()[0]:
        raise Conflict(index, path, f"{above} is ephemeral and has no children")


def _delete(db: sqlite3.Connection, index: int, path: str) -> None:
    if path == ROOT:
        raise Conflict(index, path, "is the root")
    if db.execute("SELECT 1 FROM node WHERE parent = ? LIMIT 1", (path,)).fetchone():
        raise Conflict(index, path, "has children")
    db.execute("DELETE FROM node WHERE path = ?", (path,))
