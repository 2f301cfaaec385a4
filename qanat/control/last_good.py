"""What a physical node ran last, on its own disk: it starts with that when no master answers."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import structlog

from qanat.control.assignment import Assigned

log = structlog.get_logger(__name__)

FILE = "assignment.json"


class _Stored(msgspec.Struct):
    """`revision`: the last one that ran completely, perhaps followed by changes of which not all have opened."""

    revision: str
    statements: list[Assigned]


class LastGood:
    """`assignment.json` in a node's private directory. *Blocking*."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE

    def load(self) -> tuple[str, tuple[Assigned, ...]]:
        """(revision, statements); nothing when there is none that can be read."""
        try:
            stored = msgspec.json.decode(self._path.read_bytes(), type=_Stored)
        except FileNotFoundError:
            return "", ()
        except (OSError, msgspec.DecodeError) as error:
            log.error(
                "last_good_unreadable",
                path=str(self._path),
                reason=f"{error}; this node runs nothing until a master answers",
            )
            return "", ()
        return stored.revision, tuple(stored.statements)

    def save(self, revision: str, statements: tuple[Assigned, ...]) -> None:
        """Replace it, as a whole. A disk that is full costs the memory, not the events."""
        temporary = self._path.with_suffix(".tmp")
        try:
            with temporary.open("wb") as file:
                file.write(msgspec.json.encode(_Stored(revision, list(statements))))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            log.error(
                "last_good_not_saved",
                path=str(self._path),
                reason=f"{error}; until it can be, a start without masters runs what was saved before",
            )
