"""Finished files that still exist: if one comes back, or is written to once more, it goes on where it ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from agent.tailing import names
from agent.tailing.content import mark_at
from agent.tailing.handles import Listings
from agent.tailing.identity import FINGERPRINT_BYTES, Fingerprint
from agent.tailing.state import Tomb
from agent.tailing.stream import Stream

# Rotated files that are kept: months of daily rotation of dozens of files; a tomb is some 200 bytes of state, and a
# stat(2) every `rescan`.
TOMBS_MAX = 4096


class Tombs:
    """Remembered by device and inode; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._tombs: dict[tuple[int, int], Tomb] = {}
        self._paths: dict[tuple[int, int], str] = {}  # where they are, of those that are somewhere

    def __contains__(self, key: tuple[int, int]) -> bool:
        return key in self._tombs

    def cover(self, key: tuple[int, int], fd: int, size: int) -> bool:
        """Whether a file is a finished one, rather than another on its inode; then the finished one is forgotten.

        Raises OSError."""
        tomb = self._tombs.get(key)
        if tomb is None:
            return False
        same = (
            size >= tomb.end
            and (tomb.end > 0 or size == 0)
            and Fingerprint(tomb.fingerprint_bytes, tomb.fingerprint).matches(
                os.pread(fd, FINGERPRINT_BYTES, 0)
            )
            and (not tomb.mark or mark_at(fd, tomb.end).hash == tomb.mark)
        )
        if not same:
            self._drop(key)
        return same

    def was_empty(self, key: tuple[int, int]) -> bool:
        """Whether a file was remembered with nothing in it."""
        tomb = self._tombs.get(key)
        return tomb is not None and tomb.end == 0

    def add(self, tombs: Iterable[Tomb]) -> None:
        """Remember."""
        for tomb in tombs:
            key = (tomb.dev, tomb.ino)
            self._drop(key)
            self._tombs[key] = tomb
            if tomb.path:
                self._paths[key] = names.decode(tomb.path)
        while len(self._tombs) > TOMBS_MAX:
            self._drop(next(iter(self._tombs)))

    def remember_empty(self, status: os.stat_result, home: str, path: str) -> None:
        """Remember a file that was rotated away from `home` with nothing in it."""
        nothing = Fingerprint.of(b"")
        where = names.encode(home), names.encode(path)
        self.add([Tomb(status.st_dev, status.st_ino, nothing.length, nothing.hash, 0, *where)])

    def remember(self, stream: Stream) -> None:
        """Remember a stream that was read up to its end."""
        assert stream.end is not None
        begin, mark = stream.fingerprint, stream.current_mark()
        home, path = names.encode(stream.home), names.encode(stream.where or "")
        before_end = mark.hash if mark is not None and mark.position == stream.end else ""
        self.add([Tomb(*stream.key, begin.length, begin.hash, stream.end, home, path, before_end)])

    def start_of(self, key: tuple[int, int], fd: int, size: int) -> int:
        """Where a file begins that was not read: 0, or where it ended when it was finished. A file that has grown, or
        is another one by now, is forgotten. Raises OSError."""
        if not self.cover(key, fd, size):
            return 0
        end = self._tombs[key].end
        if size > end:
            self._drop(key)
        return end

    def grown(self, listings: Listings) -> Iterator[tuple[str, str]]:
        """Path and home of finished files that were written to since."""
        for key in list(self._paths):
            tomb, path = self._tombs[key], self._paths[key]
            status = _status(path)
            if status is None or (status.st_dev, status.st_ino) != key:
                name = listings.names(os.path.dirname(path)).get(tomb.ino)
                if name is None:  # compressed or deleted
                    del self._paths[key]
                    continue
                path = self._paths[key] = os.path.join(os.path.dirname(path), name)
                status = _status(path)
            if status is not None and (status.st_dev, status.st_ino) == key and status.st_size > tomb.end:
                yield path, names.decode(tomb.home)

    def saved(self) -> list[Tomb]:
        """For the state file."""
        return list(self._tombs.values())

    def _drop(self, key: tuple[int, int]) -> None:
        self._tombs.pop(key, None)
        self._paths.pop(key, None)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
