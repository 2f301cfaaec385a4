"""Open files of streams: at most so many at a time, reopened by inode when needed again."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections import OrderedDict

from agent.tailing.stream import Stream

# O_NONBLOCK: a FIFO that took the file's place must not block the open.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(path: str) -> tuple[int, os.stat_result] | None:
    """Open `path` if it is a regular file. Raises OSError other than that it does not exist."""
    try:
        fd = os.open(path, _FLAGS)
    except (FileNotFoundError, NotADirectoryError):
        return None
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return fd, status
    os.close(fd)
    return None


class Listings:
    """Names by inode of directories, read once a round."""

    def __init__(self) -> None:
        self._names: dict[str, dict[int, str]] = {}
        self._sorted: dict[str, list[str]] = {}
        self._real: dict[str, str] = {}

    def clear(self) -> None:
        """Forget: directories may have changed."""
        self._names.clear()
        self._sorted.clear()
        self._real.clear()

    def names(self, directory: str) -> dict[int, str]:
        """Inode to name of what is in `directory`; empty when that does not exist. Raises OSError otherwise: a directory
        that can't be listed now says nothing about what is gone."""
        names = self._names.get(directory)
        if names is None:
            try:
                with os.scandir(directory) as entries:
                    names = {entry.inode(): entry.name for entry in entries}
            except (FileNotFoundError, NotADirectoryError):
                names = {}
            self._names[directory] = names
        return names

    def real(self, path: str) -> str:
        """The path without links; `os.path.realpath` would look at every directory for every file."""
        directory, base = os.path.split(path)
        real = self._real.get(directory)
        if real is None:
            real = self._real[directory] = os.path.realpath(directory)
        if os.path.islink(path):
            return os.path.realpath(path)
        return path if real == directory else os.path.join(real, base)

    def family(self, path: str) -> list[str]:
        """Paths that begin like `path` up to its extension, in order. Raises OSError."""
        directory, base = os.path.split(path)
        names = self._sorted.get(directory)
        if names is None:
            names = self._sorted[directory] = sorted(self.names(directory).values())
        stem = os.path.splitext(base)[0]
        found = []
        for at in range(bisect_left(names, stem), len(names)):
            if not names[at].startswith(stem):
                break
            found.append(os.path.join(directory, names[at]))
        return found

    def find(self, stream: Stream) -> str | None:
        """A path of the stream's inode beside its home or where it was last seen."""
        for path in filter(None, (stream.home, stream.where)):
            directory = os.path.dirname(path)
            name = self.names(directory).get(stream.ino)
            if name is not None:
                return os.path.join(directory, name)
        return None


class Handles:
    """File descriptors of streams, least recently used closed first.

    A stream that has no name any more is not closed before it is dropped, since it could not be reopened: the cap is
    exceeded rather than data lost.
    """

    def __init__(self, open_files_max: int, listings: Listings) -> None:
        self._max = open_files_max
        self._listings = listings
        self._fds: OrderedDict[Stream, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._fds)

    def has(self, stream: Stream) -> bool:
        """Whether the stream is open."""
        return stream in self._fds

    def put(self, stream: Stream, fd: int) -> None:
        """Take over `fd`."""
        self.drop(stream)
        self._fds[stream] = fd
        if len(self._fds) > self._max:
            self._evict(stream)

    def get(self, stream: Stream) -> int | None:
        """An open descriptor; None when the file is not to be found any more. Raises OSError (permission, ...)."""
        fd = self._fds.get(stream)
        if fd is not None:
            self._fds.move_to_end(stream)
            return fd
        return self._reopen(stream)

    def drop(self, stream: Stream) -> None:
        """Close the stream's descriptor, if any."""
        fd = self._fds.pop(stream, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Close all."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _reopen(self, stream: Stream) -> int | None:
        for candidate in (stream.where, *stream.at):
            if candidate is not None and self._try(stream, candidate):
                return self._fds[stream]
        path = self._listings.find(stream)
        if path is not None and self._try(stream, path):
            return self._fds[stream]
        return None

    def _try(self, stream: Stream, path: str) -> bool:
        opened = open_regular(path)
        if opened is None:
            return False
        fd, status = opened
        if (status.st_dev, status.st_ino) != stream.key:
            os.close(fd)
            return False
        stream.where = path
        self.put(stream, fd)
        return True

    def _evict(self, keep: Stream) -> None:
        # Those in place first: their name is known. Then those that have another name beside their home.
        for stream in self._fds:
            if stream is not keep and stream.at:
                self.drop(stream)
                return
        for stream in self._fds:
            path = self._find(stream) if stream is not keep else None
            if path is not None:
                stream.where = path
                self.drop(stream)
                return

    def _find(self, stream: Stream) -> str | None:
        try:
            return self._listings.find(stream)
        except OSError:
            return None
