"""Recovery: make the working directory exactly what a token says, or say what is damaged and touch nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from collector.files import disk, names
from collector.files.layout import Layout
from collector.files.publisher import missing
from collector.files.token import FileState, Token
from qanat.errors import CorruptError


def recover(layout: Layout, token: Token) -> None:
    """Cut files to their committed lengths, and remove what was never committed. *Blocking*.

    Only names that this sink gives, in its own working directory, are ever removed. Raises CorruptError that lists
    every damage, before anything was changed; RetryableError.
    """
    with disk.explained("recovering", layout.work):
        announced = layout.announced()
        damages = [_damage(layout, file, announced) for file in token.finished]
        damages += [_damage(layout, file, None) for file in token.open]
        found = [damage for damage in damages if damage is not None]
        if found:
            raise CorruptError("; ".join(found))
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
            "Restore the file, or decommission the sink to give the events up"
        )
    return None


def _cut(path: Path, length_bytes: int) -> None:
    if os.path.lexists(path) and path.stat().st_size > length_bytes:
        os.truncate(path, length_bytes)


def _remove_strays(layout: Layout, token: Token) -> None:
    wanted = {names.hidden(file.name) for file in (*token.open, *token.finished)}
    wanted |= {names.hidden(file.name, names.ENCODED) for file in token.finished}
    for name in sorted(layout.own_names() - wanted):
        (layout.work / name).unlink()
