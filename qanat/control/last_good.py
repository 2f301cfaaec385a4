"""What a physical node ran last, and was about to run, on its own disk: it starts with that."""

from __future__ import annotations

from pathlib import Path

import msgspec
import structlog

from qanat.control.assignment import Assigned
from qanat.control.node_messages import Lasting
from qanat.durable import replace_file

log = structlog.get_logger(__name__)

FILE = "assignment.json"


class _Stored(msgspec.Struct):
    """See `Lasting`."""

    revision: str
    statements: list[Assigned]
    begun: list[Assigned] = []


class LastGood:
    """`assignment.json` in a node's private directory. *Blocking*."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._written = b""

    def load(self) -> Lasting:
        """Nothing when there is none that can be read."""
        try:
            data = self._path.read_bytes()
            stored = msgspec.json.decode(data, type=_Stored)
        except FileNotFoundError:
            return Lasting()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error(
                "last_good_unreadable",
                path=str(self._path),
                reason=f"{error}; this node runs nothing until a master answers",
            )
            return Lasting()
        self._written = data
        return Lasting(stored.revision, tuple(stored.statements), tuple(stored.begun))

    def save(self, lasting: Lasting) -> str:
        """Replace it, as a whole. Gives why it could not be done: nothing new may be opened then; else ""."""
        data = msgspec.json.encode(_Stored(lasting.revision, list(lasting.good), list(lasting.begun)))
        if data == self._written:
            return ""
        try:
            replace_file(self._path, [data])
        except OSError as error:
            log.error(
                "last_good_not_saved",
                path=str(self._path),
                reason=f"{error}; until it can be, what runs goes on, and nothing else is begun",
            )
            return f"{self._path}: {error}"
        self._written = data
        return ""
