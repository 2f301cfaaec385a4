"""What happens between the start of an agent without state and its first connection.

Until collectors have said which streams they know, no file can be given an id, so nothing is saved and nothing followed.
What is rotated away meanwhile is found afterwards by what there was at the start: a file that was at a watched path is
known by its inode; and one that has a rotated name, and was not there or has changed, was at a watched path since. The
latter holds for any number of rotations, and without anybody having looked in between.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from agent.tailing.content import is_prefix
from agent.tailing.discovery import Discovery, Found
from agent.tailing.handles import open_regular
from agent.tailing.newcomers import Newcomers
from agent.tailing.recovery import Recovery
from agent.tailing.situation import Situation
from qanat.clock import Clock

_Key = tuple[int, int]  # device and inode


class _Home(NamedTuple):
    path: str
    where: str  # what a link pointed to
    size: int


class _Moved(NamedTuple):
    mtime_ns: int
    path: str
    home: str
    start: int


class FirstLook:
    """Remembers what there is, and finds what was rotated away since."""

    def __init__(
        self,
        discovery: Discovery,
        situation: Situation,
        newcomers: Newcomers,
        recovery: Recovery,
        clock: Clock,
        *,
        from_end: bool,
    ) -> None:
        self._discovery = discovery
        self._situation = situation
        self._newcomers = newcomers
        self._recovery = recovery
        self._clock = clock
        self._from_end = from_end
        self._homes: dict[_Key, _Home] = {}
        self._beside: dict[_Key, tuple[int, int]] = {}  # size and mtime

    def look(self) -> None:
        """Remember what there is. *Blocking*: a stat(2) for each file in a watched directory."""
        found = self._discovery.walk()
        # In this order: what is rotated away in between is in neither, and then found by its name.
        for path in _beside(found):
            status = _status(path)
            if status is not None:
                self._beside[_key(status)] = (status.st_size, status.st_mtime_ns)
        for path in found.files:
            status = _status(path)
            if status is not None:
                where = os.path.realpath(path) if os.path.islink(path) else path
                self._homes[_key(status)] = _Home(path, where, status.st_size)

    def starts(self) -> dict[_Key, int]:
        """Where files begin by device and inode, if not at 0."""
        return {key: home.size for key, home in self._homes.items()} if self._from_end else {}

    def find_rotated(self) -> None:
        """Add what was rotated away since, oldest first; call it before what is in place now is added."""
        for moved in sorted(self._moved()):
            try:
                self._add(moved)
            except OSError as error:
                self._situation.complain(moved.path, error)
        self._homes.clear()
        self._beside.clear()

    def _moved(self) -> Iterator[_Moved]:
        found = self._discovery.walk()
        links = (home.where for home in self._homes.values() if home.where != home.path)
        for path in dict.fromkeys((*_beside(found), *links)):
            status = _status(path)
            if status is None or path in found.files or self._discovery.excludes(path):
                continue
            home = self._home_of(path, status)
            if home is not None and status.st_size > home.size:
                yield _Moved(status.st_mtime_ns, path, home.path, home.size)

    def _home_of(self, path: str, status: os.stat_result) -> _Home | None:
        """From where a file was rotated away since; None when it was not. `size`: where it begins."""
        key = _key(status)
        home = self._homes.get(key)
        if home is not None:
            in_place = _status(home.path)
            is_here = in_place is not None and _key(in_place) == key
            return None if is_here else home._replace(size=home.size if self._from_end else 0)
        if self._beside.get(key) == (status.st_size, status.st_mtime_ns):
            return None
        name = self._recovery.home_of(path)
        return _Home(name, name, 0) if name is not None else None

    def _add(self, moved: _Moved) -> None:
        if self._recovery.recognise(moved.path) or _is_copy(moved.path, moved.home):
            return
        stream = self._newcomers.add_away(moved.path, moved.home, start=moved.start)
        if stream is not None:
            stream.missed_s = self._clock.monotonic_s()


def _beside(found: Found) -> Iterator[str]:
    """What is in the watched directories and not watched itself."""
    for directory in found.directories:
        try:
            with os.scandir(directory) as entries:
                paths = [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError:
            continue  # the walk that adds files warns
        yield from (path for path in paths if path not in found.files)


def _is_copy(path: str, home: str) -> bool:
    """Whether a file is nothing but the beginning of what is in place: a copy that is being made. Raises OSError."""
    copy = open_regular(path)
    if copy is None:
        return False
    try:
        original = open_regular(home)
        if original is None:
            return False
        try:
            return is_prefix(copy[0], copy[1].st_size, original[0])
        finally:
            os.close(original[0])
    finally:
        os.close(copy[0])


def _status(path: str) -> os.stat_result | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _key(status: os.stat_result) -> _Key:
    return status.st_dev, status.st_ino
