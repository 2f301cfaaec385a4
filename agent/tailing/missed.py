"""Files that were created at a path and rotated away from it before anybody looked: while the agent was down, or
because the writer rotated twice between two looks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from agent.tailing import names
from agent.tailing.content import is_intact
from agent.tailing.copies import Copies
from agent.tailing.discovery import Discovery
from agent.tailing.endings import Endings
from agent.tailing.handles import Handles, Listings, open_regular
from agent.tailing.newcomers import Newcomers
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.tombs import Tombs
from qanat.clock import Clock


class Missed:
    """Finds them by their names, and by having been written after the last stream that is known of their path."""

    def __init__(
        self,
        discovery: Discovery,
        registry: Registry,
        handles: Handles,
        listings: Listings,
        situation: Situation,
        newcomers: Newcomers,
        copies: Copies,
        endings: Endings,
        tombs: Tombs,
        clock: Clock,
    ) -> None:
        self._discovery = discovery
        self._registry = registry
        self._handles = handles
        self._listings = listings
        self._situation = situation
        self._newcomers = newcomers
        self._copies = copies
        self._endings = endings
        self._tombs = tombs
        self._clock = clock

    def find(self, home: str) -> None:
        """Add what was missed at `home`, oldest first; call it before what is there now is added."""
        self._part_from_cut(home)
        seen_ns = self._registry.seen_ns(home)
        if seen_ns is None:
            return
        for _mtime_ns, path in sorted(self._candidates(home, seen_ns)):
            try:
                stream = None if self._is_copy(path, home) else self._newcomers.add_away(path, home)
            except OSError as error:
                self._situation.complain(path, error)
                continue
            if stream is not None:
                stream.missed_s = self._clock.monotonic_s()
                stream.seen_ns = seen_ns  # nobody saw it at home: others may have been there before it left

    def _part_from_cut(self, home: str) -> None:
        """What is known goes on in copies where it was cut, before they are taken for something that was missed."""
        for stream in list(self._registry.at_home(home)):
            if stream.gone:
                continue
            try:
                fd = self._handles.get(stream)
                if fd is not None and not is_intact(stream, fd):
                    self._endings.lose(stream, "truncated")
                elif fd is None and stream.end is None:
                    self._endings.move_to_copy(stream)
            except OSError as error:
                self._situation.complain(stream.where or home, error)

    def _is_copy(self, path: str, home: str) -> bool:
        """Whether a file is nothing but a copy that is being made of what is in place. Raises OSError."""
        return self._copies.has(path) or self._copies.is_being_made(path, home)

    def _candidates(self, home: str, after_ns: int) -> Iterator[tuple[int, str]]:
        for path in self._listings.family(home):
            # Watched by itself: only what is surely no log of its own.
            separated = self._discovery.matches(path)
            if self._discovery.excludes(path) or not names.is_rotated(home, path, separated=separated):
                continue
            try:
                status = os.lstat(path)
            except OSError:
                continue
            # Two files can be written within one tick of the clock: not older is enough.
            if (
                stat.S_ISREG(status.st_mode)
                and status.st_mtime_ns >= after_ns
                and not self._is_known(path, status)
            ):
                if status.st_size == 0:  # but a writer may still have it open
                    self._tombs.remember_empty(status, home, path)
                    self._situation.changed = True
                    continue
                yield status.st_mtime_ns, path

    def _is_known(self, path: str, status: os.stat_result) -> bool:
        """Raises OSError."""
        key = (status.st_dev, status.st_ino)
        stream = self._registry.at_inode(key)
        if stream is None and key not in self._tombs:
            return False
        opened = open_regular(path)
        if opened is None:
            return True
        fd, status = opened
        try:
            if stream is None:
                return self._tombs.cover(key, fd, status.st_size)
            if is_intact(stream, fd):
                return True
        finally:
            os.close(fd)
        self._endings.lose(stream, "inode reused")
        return self._registry.at_inode(key) is not None
