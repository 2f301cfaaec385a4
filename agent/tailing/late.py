"""What is written to a file after it was finished: a writer kept it open, in silence, for longer than `rotate_wait`.

It is counted, and read as a stream of its own: behind what its successor had by then.
"""

from __future__ import annotations

import os

import structlog

from agent.tailing.handles import Listings, open_regular
from agent.tailing.newcomers import Newcomers
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.tombs import Tombs
from qanat.component import Context

_log = structlog.get_logger()


class Late:
    """Looks at finished files now and then."""

    def __init__(
        self,
        context: Context,
        registry: Registry,
        listings: Listings,
        situation: Situation,
        newcomers: Newcomers,
        tombs: Tombs,
    ) -> None:
        self._count = context.count
        self._registry = registry
        self._listings = listings
        self._situation = situation
        self._newcomers = newcomers
        self._tombs = tombs

    def is_over(self, key: tuple[int, int]) -> bool:
        """Whether this is a finished file."""
        return key in self._tombs

    def start_of(self, key: tuple[int, int], fd: int, size: int) -> int:
        """Where a file goes on that was read to its end before; 0 for any other. Raises OSError."""
        start = self._tombs.start_of(key, fd, size)
        if 0 < start < size:
            self._count("bytes_late", size - start)
            _log.warning("file_grew_after_its_end", device=key[0], inode=key[1], end=start, size_bytes=size)
        return start

    def revisit(self) -> None:
        """Look whether finished files were written to."""
        try:
            grown = list(self._tombs.grown(self._listings))
        except OSError as error:
            self._situation.complain("directories of finished files", error)
            return
        for path, home in grown:
            try:
                self._read_on(path, home)
            except OSError as error:
                self._situation.complain(path, error)

    def _read_on(self, path: str, home: str) -> None:
        if path in self._situation.here:
            return
        opened = open_regular(path)
        if opened is None:
            return
        fd, status = opened
        try:
            key = (status.st_dev, status.st_ino)
            was_empty = self._tombs.was_empty(key)
            start = self.start_of(key, fd, status.st_size)
        finally:
            os.close(fd)
        if (start or was_empty) and self._registry.at_inode(key) is None:
            self._newcomers.add_away(path, home, start=start)
