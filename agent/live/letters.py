"""Events above `event_bytes` that a live source keeps beside the stream: `oversize="dead-letter"`."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from agent.live.framing import Letter, Letters
from qanat.component import Context

log = structlog.get_logger(__name__)

KEPT = "events_dead_lettered"
DROPPED = "dead_letters_dropped"

# A peer that sends nothing else fills no disk with log lines; the counters have all of them.
LOG_S = 10.0

_UNFINISHED = ".part"


class FileLetters(Letters):
    """A file each, in `dead-letter` of the state directory, as long as `quota_bytes` are not used up there; then they are lost,
    and counted. A file that ends in `.part` is of an event that this agent did not live to see the end of.

    `synced`: whether one is on disk before it is said to be there, for peers that are answered. *Thread*: any. *Blocking*."""

    def __init__(self, context: Context, quota_bytes: int, *, synced: bool) -> None:
        self._directory = context.state_dir / "dead-letter"
        self._context = context
        self._quota_bytes = quota_bytes
        self._synced = synced
        self._life = secrets.token_hex(6)
        self._number = 0
        self._used_bytes: int | None = None
        self._say_at_s = 0.0
        self._guard = threading.Lock()

    def begin(self) -> Letter:
        """See Letters."""
        with self._guard:
            self._number += 1
            return _FileLetter(
                self._directory / f"{self._life}-{self._number}.raw",
                self.claim,
                self.ended,
                synced=self._synced,
            )

    def claim(self, size_bytes: int) -> str:
        """Why so many bytes more can't be kept; "" when they can. Raises OSError."""
        with self._guard:
            if self._used_bytes is None:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._used_bytes = sum(each.stat().st_size for each in self._directory.iterdir())
            if self._used_bytes + size_bytes > self._quota_bytes:
                return f"dead_letter_quota={self._quota_bytes} is used up in {self._directory}"
            self._used_bytes += size_bytes
            return ""

    def ended(self, path: Path, size_bytes: int, why: str) -> None:
        """An event is kept there; or it is not, which `why` explains."""
        self._context.count(DROPPED if why else KEPT, 1)
        now_s = time.monotonic()
        if now_s < self._say_at_s:
            return
        self._say_at_s = now_s + LOG_S
        if why:
            log.error("dead_letter_dropped", node=self._context.logical_node, size_bytes=size_bytes, why=why)
        else:
            log.warning("event_dead_lettered", path=str(path), size_bytes=size_bytes)


class _FileLetter(Letter):
    """No file stays open between two writes: there may be as many letters as connections."""

    def __init__(
        self,
        path: Path,
        claim: Callable[[int], str],
        ended: Callable[[Path, int, str], None],
        *,
        synced: bool,
    ) -> None:
        self._path = path
        self._part = path.with_suffix(_UNFINISHED)
        self._claim = claim
        self._ended = ended
        self._synced = synced
        self._size_bytes = 0
        self._why = ""

    def write(self, data: bytes) -> None:
        """See Letter."""
        self._size_bytes += len(data)
        if self._why or not data:
            return
        try:
            self._why = self._claim(len(data))
            if not self._why:
                with self._part.open("ab") as file:
                    file.write(data)
        except OSError as error:
            self._why = f"{self._part} can't be written: {error}"

    def end(self) -> None:
        """See Letter."""
        try:
            if not self._why:
                self._finish()
        except OSError as error:
            self._why = f"{self._path} can't be written: {error}"
        self._ended(self._path, self._size_bytes, self._why)

    def _finish(self) -> None:
        if self._synced:
            with self._part.open("rb") as file:
                os.fsync(file.fileno())
        self._part.replace(self._path)
