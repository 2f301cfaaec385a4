"""What a dead collector's fan-out has left, and whether its log is reached from here.

An adopter only reads the log, and only what is committed; that does not change any more, whatever a paused owner does when it
wakes. So the log need not be claimed, as the branches' storage is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from collector.fan_out.log import BranchLog
from qanat.component import LeftBehind, Sink
from qanat.delivery.fan_out_token import Token
from qanat.errors import CorruptError


def reached_log(committed: Token, own: BranchLog) -> BranchLog | None:
    """The log that `committed` is about, ready to be read; None when it is not here. `own`: where it would be by itself, and
    of its capacity. *Blocking*. Raises RetryableError."""
    if not committed.log.path:
        return None
    found = own.elsewhere(Path(committed.log.path))
    if not found.is_at(committed.log):
        return None
    try:
        found.attach(committed.slowest, committed.end)
    except CorruptError:
        return None  # an older copy
    return found


def left_behind(branches: Iterable[tuple[str, Sink]], committed: Token, own: BranchLog) -> LeftBehind:
    """The sum over all branches. *Blocking*. Raises RetryableError, CorruptError."""
    files = events = 0
    behind = {name: committed.end - mark.at for name, mark in committed.marks.items()}
    for name, sink in branches:
        token = committed.of(name)
        left = None if token is None else sink.left_behind(token)
        if left is not None:
            files, events = files + left.files, events + left.events
    waiting_bytes = committed.end - committed.slowest
    if not waiting_bytes or reached_log(committed, own) is not None:
        return LeftBehind(files, events, waiting_bytes)
    lagging = ", ".join(f"{name} ({size:,} bytes)" for name, size in sorted(behind.items()) if size)
    where = f"{committed.log.path} on {committed.log.host}" if committed.log.path else "its state directory"
    return LeftBehind(
        files,
        events,
        stranded_bytes=waiting_bytes,
        stranded=f"branches had more to take, by number: {lagging}. It lies in the log of the fan-out, {where}, which is not "
        "reached from here: start a collector of that name on that host again, or on another one with its disk",
    )
