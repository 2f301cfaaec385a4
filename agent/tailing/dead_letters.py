"""Where events too large to be sent are kept, within a quota."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import structlog

from qanat.component import Context
from qanat.durable import replace_file

_log = structlog.get_logger()
# Copied at a time: a long line takes no memory to match.
_BLOCK_BYTES = 1 << 20


class DeadLetters:
    """Files named by stream and position, so that an event read again is kept once."""

    def __init__(self, context: Context, quota_bytes: int) -> None:
        self._directory = context.state_dir / "dead-letter"
        self._count = context.count
        self._quota_bytes = quota_bytes

    def keep(self, fd: int, stream: str, start: int, end: int) -> None:
        """Copy the bytes `[start, end)` of `fd`; when that is impossible, say so and count it. *Blocking*."""
        self.keep_blocks(stream, start, end, _blocks(fd, start, end))

    def keep_blocks(self, stream: str, start: int, end: int, blocks: Iterator[bytes]) -> None:
        """As `keep`, of bytes that come in blocks."""
        path = self._directory / f"{stream}-{start}.raw"
        if path.exists():
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            used = sum(entry.stat().st_size for entry in self._directory.iterdir())
            if used + end - start > self._quota_bytes:
                self._dropped(path, end - start, f"quota of {self._quota_bytes} bytes, {used} used")
                return
            replace_file(path, blocks)
        except OSError as error:
            self._dropped(path, end - start, str(error))
            return
        self._count("events_dead_lettered", 1)
        _log.warning("event_dead_lettered", path=str(path), size_bytes=end - start)

    def _dropped(self, path: Path, size_bytes: int, why: str) -> None:
        self._count("dead_letters_dropped", 1)
        _log.error("dead_letter_dropped", path=str(path), size_bytes=size_bytes, why=why)


def _blocks(fd: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        block = os.pread(fd, min(_BLOCK_BYTES, end - start), start)
        if not block:
            raise OSError(f"the file ended at {start}, before {end}")
        yield block
        start += len(block)
