"""Whether a file has the bytes that were read of a stream: the same file grown, or a copy of it."""

from __future__ import annotations

import os

from agent.tailing.identity import FINGERPRINT_BYTES, TAIL_BYTES, Mark, digest
from agent.tailing.stream import Stream


def mark_at(fd: int, position: int) -> Mark:
    """What a file has before a position. Raises OSError."""
    length = min(position, TAIL_BYTES)
    return Mark(position, digest(os.pread(fd, length, position - length)))


def continues(stream: Stream, fd: int) -> bool:
    """Whether what was before the furthest position read is still there."""
    if stream.high_tail is not None:
        length = len(stream.high_tail)
        return os.pread(fd, length, stream.high - length) == stream.high_tail
    return stream.mark is None or stream.mark == mark_at(fd, stream.mark.position)


def is_intact(stream: Stream, fd: int) -> bool:
    """Whether the file still begins as it did, and what was before the read position still is. Raises OSError."""
    return (
        os.fstat(fd).st_size >= stream.size
        and stream.fingerprint.matches(os.pread(fd, FINGERPRINT_BYTES, 0))
        and continues(stream, fd)
    )


def was_copied(stream: Stream, fd: int, status: os.stat_result) -> bool:
    """Whether a file is a copy of the stream's file made before that was truncated: changed later, with the same first
    bytes and the same bytes before the position. Raises OSError."""
    return (
        status.st_size >= stream.size
        and status.st_ctime_ns >= stream.mtime_ns
        and stream.fingerprint.matches(os.pread(fd, FINGERPRINT_BYTES, 0))
        and continues(stream, fd)
    )


def is_prefix(fd: int, size: int, whole: int) -> bool:
    """Whether a file of `size` bytes begins and ends like the first `size` bytes of another. Raises OSError."""
    at = max(0, size - TAIL_BYTES)
    length = min(size, FINGERPRINT_BYTES)
    return os.pread(fd, length, 0) == os.pread(whole, length, 0) and (
        os.pread(fd, size - at, at) == os.pread(whole, size - at, at)
    )
