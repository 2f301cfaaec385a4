"""From what recovery found to a log that goes on: what is torn is cut off, what is damaged set aside."""

from __future__ import annotations

import structlog

from qanat.channels.wal.directory import Directory
from qanat.channels.wal.recovery import Recovered
from qanat.channels.wal.segments import Segments
from qanat.channels.wal.writer import Writer

_log = structlog.get_logger()

# Skipped after a power cut when nothing was synced. An event has a byte at least, so that more of them can't have been lost
# than a tebibyte of unwritten memory holds; and of 62-bit positions there are enough for four million such power cuts.
SKIP_EVENTS = 1 << 40


def resume_at(found: Recovered, boot: str) -> int:
    """The next number to give: behind every one that may have been seen by somebody. `boot`: the present one."""
    if found.boot and found.boot != boot:
        return found.resume + SKIP_EVENTS
    return found.resume


def repair(directory: Directory, segments: Segments, found: Recovered, *, resume: int) -> Writer | None:
    """Make durable what is kept, which a killed process left in memory. Gives the last segment if the log can go on in it.

    Raises OSError."""
    for segment, missing in found.damaged:
        segment.is_counted = True
        if not segment.damaged:  # else it was counted by an earlier process
            segments.set_aside(segment, missing)
    directory.sync()  # what an earlier process removed must not come back
    if found.boot:  # earlier segments may not be synced either
        for segment in found.segments[:-1]:
            _sync(directory, segment.name)
    if not found.segments:
        return None
    last = found.segments[-1]
    if not found.is_open:
        _sync(directory, last.name)
        return None
    if found.torn_bytes:
        _log.info("wal_torn_end_cut_off", segment=last.name, bytes=found.torn_bytes, at=last.size)
    file = directory.open(last.name, writable=True)
    try:
        file.truncate(last.size)
        file.sync()
    except OSError:
        file.close()
        raise
    if resume != found.number:
        file.close()
        return None
    found_writer = Writer(last, file)
    found_writer.boot = found.boot
    return found_writer


def _sync(directory: Directory, name: str) -> None:
    file = directory.open(name)
    try:
        file.sync()
    finally:
        file.close()
