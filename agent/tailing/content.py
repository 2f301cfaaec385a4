"""Whether a file has the bytes that were read of a stream: the same file grown, or a copy of it."""

from __future__ import annotations

import os
from collections.abc import Callable

from agent.tailing.handles import open_regular
from agent.tailing.identity import FINGERPRINT_BYTES, digest
from agent.tailing.stream import Stream


def continues(stream: Stream, fd: int) -> bool:
    """Whether what was before the furthest position read is still there."""
    if stream.high_tail is not None:
        length = len(stream.high_tail)
        return os.pread(fd, length, stream.high - length) == stream.high_tail
    mark = stream.mark
    if mark is None:
        return True
    return digest(os.pread(fd, mark.length, mark.position - mark.length)) == mark.hash


def open_copy(
    stream: Stream, path: str, is_taken: Callable[[tuple[int, int]], bool]
) -> tuple[int, os.stat_result] | None:
    """Open `path` if it is a copy of the stream's file that copytruncate made: not another stream's file, changed
    after the file was, with the same first bytes and the same bytes before the position. Raises OSError."""
    opened = open_regular(path)
    if opened is None:
        return None
    fd, status = opened
    fits = (
        status.st_size >= stream.size
        and status.st_ctime_ns >= stream.mtime_ns
        and not is_taken((status.st_dev, status.st_ino))
        and stream.fingerprint.matches(os.pread(fd, FINGERPRINT_BYTES, 0))
        and continues(stream, fd)
    )
    if fits:
        return opened
    os.close(fd)
    return None
