"""The rate limits that masters said last, on a node's own disk: they hold while no master answers, too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from qanat.throttle import Limit

log = structlog.get_logger(__name__)

FILE = "limits.json"


class LastLimits:
    """`limits.json` in a node's private directory, read at once. *Blocking*."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self.last: Mapping[str, Limit] = self._load()

    def save(self, by_id: Mapping[str, Limit]) -> None:
        """Not synced: what is lost with the machine's power is said again by the next master."""
        self.last = dict(by_id)
        temporary = self._path.with_suffix(".tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(msgspec.json.encode(by_id))
            os.replace(temporary, self._path)
        except OSError as error:
            log.warning(
                "limits_not_saved",
                path=str(self._path),
                reason=f"{error}; a restart without a master would not know them",
            )

    def _load(self) -> dict[str, Limit]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Limit])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.error(
                "limits_unreadable",
                path=str(self._path),
                reason=f"{error}; nothing is limited until a master answers",
            )
            return {}
