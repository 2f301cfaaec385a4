"""Recovery: make the working directory exactly what a token says, or say what is damaged and touch nothing."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import structlog

from collector.files import disk, names
from collector.files.layout import Layout
from collector.files.publisher import missing
from collector.files.token import FileState, Token
from qanat.durable import sync_directory
from qanat.errors import CorruptError

_log = structlog.get_logger()


def recover(layout: Layout, token: Token) -> None:
    """Cut files to their committed lengths, and remove what was never committed. *Blocking*.

    Where others may have open what is to be written to, it goes on in a copy. Only names that this sink gives, in its own
    working directory, are ever removed. Raises CorruptError that lists
    every damage, before anything was changed; RetryableError.
    """
    with disk.explained("recovering", layout.work):
        announced = layout.announced()
        damages = [_damage(layout, file, announced) for file in token.finished]
        damages += [_damage(layout, file, None) for file in token.open]
        found = [damage for damage in damages if damage is not None]
        if found:
            layout.require()
            raise CorruptError("; ".join(found))
        if layout.tenancy.is_uncopied:
            _copy(layout, token)
        for file in (*token.open, *token.finished):
            _cut(layout.temporary(file), file.length_bytes)
        _remove_strays(layout, token)


def _damage(layout: Layout, file: FileState, announced: set[str] | None) -> str | None:
    """What is wrong with a committed file; `announced` is None for files that can't have been published."""
    path = layout.temporary(file)
    try:
        found = path.lstat()
    except FileNotFoundError:
        is_done = announced is not None and (
            os.path.lexists(layout.encoded(file))
            or file.name in announced
            or os.path.lexists(layout.final(file))
        )
        return None if is_done else missing(layout, file)
    if not stat.S_ISREG(found.st_mode):
        return f"{path} is not a regular file any more: {file.events} committed events were in it"
    if found.st_size < file.length_bytes:
        return (
            f"{path} has {found.st_size} bytes, but {file.length_bytes} were committed: somebody truncated it. "
            "Restore the file from a backup; nothing else is touched until then"
        )
    return None


def _copy(layout: Layout, token: Token) -> None:
    """Finished files stay: they were closed before the commit that says so."""
    for file in token.open:
        disk.replace_by_copy(layout.temporary(file), file.length_bytes, layout.copying(file))
    sync_directory(layout.work)
    layout.tenancy.copied()


def _cut(path: Path, length_bytes: int) -> None:
    if os.path.lexists(path) and path.stat().st_size > length_bytes:
        os.truncate(path, length_bytes)


def set_strays_aside(layout: Layout) -> None:
    """For a start at which no commit is known. Either there was none, or the store that knew is lost: then unfinished files may
    be the only copy of acknowledged events, and are kept where nobody mistakes them for stored ones. *Blocking*. Raises
    RetryableError."""
    with disk.explained("setting files aside in", layout.work):
        _set_aside(layout)


def _set_aside(layout: Layout) -> None:
    written = [name for name in sorted(layout.own_names()) if (layout.work / name).stat().st_size > 0]
    if written:
        aside = layout.tenancy.home / f"set-aside-{time.time_ns()}"
        aside.mkdir()
        for name in written:
            (layout.work / name).rename(aside / name)
        for directory in (layout.tenancy.home, aside, layout.work):  # where they are before where they were
            sync_directory(directory)
        _log.warning(
            "uncommitted_files_set_aside",
            directory=str(aside),
            files=len(written),
            reason="the coordination store knows no commit of this sink. If the store was lost, they have events that agents "
            "will not send again; otherwise remove them",
        )


def _remove_strays(layout: Layout, token: Token) -> None:
    wanted = {names.hidden(file.name) for file in (*token.open, *token.finished)}
    wanted |= {names.hidden(file.name, names.ENCODED) for file in token.finished}
    for name in sorted(layout.own_names() - wanted):
        (layout.work / name).unlink()
