"""Sessions in the embedded store: a row in the database, and a heartbeat that costs no sync.

A session lives while its process writes the time into its eight bytes of `<file>-beats`, which is never synced: after a
power failure every session is dead anyway, and is known to be by its boot id. The time is CLOCK_BOOTTIME, which
all processes of a machine share, which goes on during suspend, and which setting the clock does not change.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from pathlib import Path

from qanat.coordination.request import parent_of
from qanat.coordination.sqlite_ops import log_changes

_BEAT = struct.Struct("=q")


class Sessions:
    """The sessions in the database `path`. *Thread*: the tree's; `beat` any."""

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}-beats")
        self._fd: int | None = None
        self._boot = ""

    def beat(self, session_id: int) -> None:
        """The session's process is alive: eight bytes into the page cache. Raises OSError."""
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.pwrite(self._file(), _BEAT.pack(now_ns), session_id * _BEAT.size)

    def open(self, db: sqlite3.Connection, timeout_s: float) -> int:
        """The id of a new session, whose process has to be heard of every `timeout_s`. Inside a transaction."""
        row = (self._boot_id(), int(timeout_s * 1e9))
        session_id = db.execute("INSERT INTO session (boot, timeout_ns) VALUES (?, ?)", row).lastrowid or 0
        self.beat(session_id)
        return session_id

    def lives(self, db: sqlite3.Connection, session_id: int) -> bool:
        """Nobody has ended it."""
        return db.execute("SELECT 1 FROM session WHERE id = ?", (session_id,)).fetchone() is not None

    def dead(self, db: sqlite3.Connection) -> list[int]:
        """Those that were not heard of for their timeout, or lived before the machine was started."""
        rows = db.execute("SELECT id, boot, timeout_ns FROM session").fetchall()
        if not rows:
            return []
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return [
            session_id
            for session_id, boot, timeout_ns in rows
            if boot != self._boot_id() or now_ns - self._heard_ns(session_id) > timeout_ns
        ]

    def end(self, db: sqlite3.Connection, session_id: int) -> None:
        """Delete it and its nodes. Inside a transaction."""
        nodes = [path for (path,) in db.execute("SELECT path FROM node WHERE owner = ?", (session_id,))]
        db.execute("DELETE FROM session WHERE id = ?", (session_id,))
        if nodes:
            db.execute("DELETE FROM node WHERE owner = ?", (session_id,))
            log_changes(db, {*nodes, *map(parent_of, nodes)})

    def close(self) -> None:
        """Give the descriptor back; idempotent."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _heard_ns(self, session_id: int) -> int:
        data = os.pread(self._file(), _BEAT.size, session_id * _BEAT.size)
        return int(_BEAT.unpack(data)[0]) if len(data) == _BEAT.size else 0

    def _file(self) -> int:
        if self._fd is None:
            self._fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        return self._fd

    def _boot_id(self) -> str:
        self._boot = self._boot or Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return self._boot
