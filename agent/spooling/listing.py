"""What there is to read: the files of a directory that match, and have not changed for a while; and in which order."""

from __future__ import annotations

import os
import random
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.spooling.file import Version
from qanat.clock import Clock


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be read."""

    path: str
    version: Version


def version_of(status: os.stat_result) -> Version:
    """Of a regular file."""
    return Version(status.st_ino, status.st_size, status.st_mtime_ns)


def version_at(path: str) -> Version | None:
    """None when there is no regular file. Raises OSError other than that."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return version_of(status) if stat.S_ISREG(status.st_mode) else None


class Paths:
    """Files that are named, instead of a directory: whatever they are called."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = [os.path.abspath(path) for path in paths]
        self.directories = list(dict.fromkeys(map(os.path.dirname, self.paths)))

    def scan(self) -> Iterator[Candidate]:
        """What is there now. Raises OSError."""
        for path in self.paths:
            version = version_at(path)
            if version is not None:
                yield Candidate(path, version)


class Directory:
    """A directory, perhaps with those below it. Names that begin with a dot are somebody's temporary files."""

    def __init__(
        self,
        path: str,
        include: re.Pattern[str],
        ignore: re.Pattern[str],
        finished: tuple[str, ...],
        *,
        recursive: bool,
    ) -> None:
        self._path = os.path.abspath(path)
        self._include = include
        self._ignore = ignore
        self._finished = finished
        self._recursive = recursive
        self.directories: list[str] = [self._path]

    def scan(self) -> Iterator[Candidate]:
        """What is there now; `directories` are those that were listed. *Blocking*: a stat(2) for each. Raises OSError when the
        directory itself can't be listed."""
        self.directories = []
        waiting = [self._path]
        while waiting:
            directory = waiting.pop()
            try:
                with os.scandir(directory) as listing:
                    entries = list(listing)
            except OSError:
                if directory == self._path:
                    raise
                continue  # removed, or not ours to read: as if it were empty
            self.directories.append(directory)
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if self._recursive:
                        waiting.append(entry.path)
                elif self._is_wanted(entry.name):
                    yield from _candidate(entry)

    def _is_wanted(self, name: str) -> bool:
        return (
            not name.endswith(self._finished)
            and self._include.fullmatch(name) is not None
            and self._ignore.fullmatch(name) is None
        )


def _candidate(entry: os.DirEntry[str]) -> Iterator[Candidate]:
    try:
        status = entry.stat()
    except OSError:  # gone since it was listed, or a link to nothing
        return
    if stat.S_ISREG(status.st_mode):
        yield Candidate(entry.path, version_of(status))


class Stability:
    """Files are read once they have not changed for `stable_s`."""

    def __init__(self, clock: Clock, stable_s: float) -> None:
        self._clock = clock
        self._stable_s = stable_s
        self._seen: dict[str, tuple[Version, float]] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether some may be stable soon."""
        return bool(self._seen)

    def stable(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that are; the others are remembered. A file that was written long ago was moved here, and is whole."""
        now_s, now_ns = self._clock.monotonic_s(), self._clock.wall_ns()
        before, self._seen = self._seen, {}
        found = []
        for candidate in candidates:
            since = before.get(candidate.path)
            seen_s = now_s if since is None or since[0] != candidate.version else since[1]
            age_s = max(now_s - seen_s, (now_ns - candidate.version.mtime_ns) / 1e9)
            if age_s >= self._stable_s:
                found.append(candidate)
            else:
                self._seen[candidate.path] = (candidate.version, seen_s)
        return found


def ordered(candidates: Sequence[Candidate], order: str) -> list[Candidate]:
    """By time of the last change, `oldest` or `youngest` first, and by name within; or `random`."""
    if order == "random":
        return random.sample(candidates, len(candidates))
    sign = -1 if order == "youngest" else 1
    return sorted(candidates, key=lambda each: (sign * each.version.mtime_ns, each.path))
