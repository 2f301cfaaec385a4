"""Finished files that still exist under a name that is not watched: if one comes back, it goes on where it ended."""

from __future__ import annotations

from collections.abc import Iterable

from agent.tailing.identity import Fingerprint
from agent.tailing.state import Tomb
from agent.tailing.stream import Stream

# Rotated files that are kept: months of daily rotation of dozens of files; a tomb is some 100 bytes of state.
TOMBS_MAX = 4096


class Tombs:
    """Remembered by device and inode; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._tombs: dict[tuple[int, int], Tomb] = {}

    def __contains__(self, key: tuple[int, int]) -> bool:
        return key in self._tombs

    def add(self, tombs: Iterable[Tomb]) -> None:
        """Remember."""
        for tomb in tombs:
            self._tombs[(tomb.dev, tomb.ino)] = tomb
        while len(self._tombs) > TOMBS_MAX:
            del self._tombs[next(iter(self._tombs))]

    def remember(self, stream: Stream, end: int) -> None:
        """Remember a stream that was read up to `end`."""
        mark = stream.fingerprint
        self.add([Tomb(stream.dev, stream.ino, mark.length, mark.hash, end)])

    def start_of(self, key: tuple[int, int], head: bytes, size: int) -> int:
        """Where a file begins that was not read: 0, or where it ended when it was finished. A file that has grown, or
        is another one by now, is forgotten."""
        tomb = self._tombs.get(key)
        if tomb is None:
            return 0
        same = size >= tomb.end and Fingerprint(tomb.fingerprint_bytes, tomb.fingerprint).matches(head)
        if not same or size > tomb.end:
            del self._tombs[key]
        return tomb.end if same else 0

    def saved(self) -> list[Tomb]:
        """For the state file."""
        return list(self._tombs.values())
