"""Copies that copytruncate makes: the same lines on another inode, perhaps under a name that is watched too.

A stream whose file was truncated goes on in the copy, to its end. Until the file is truncated, a copy that is watched is
left alone: as long as it holds nothing that the original does not, by its first 1024 bytes and its last 256, under a name
of the same family. Ambiguous are files of one family that begin with the same bytes and have nothing else yet: such a
file is read, from its beginning, as soon as it has something of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import structlog

from agent.tailing import names
from agent.tailing.content import is_intact, is_prefix, mark_at, was_copied
from agent.tailing.handles import Handles, Listings, open_regular
from agent.tailing.identity import FINGERPRINT_BYTES, Fingerprint
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.state import Tomb
from agent.tailing.stream import Stream
from agent.tailing.tombs import Tombs

_log = structlog.get_logger()


class Copies:
    """Finds copies of streams, and the streams that files are copies of."""

    def __init__(
        self,
        registry: Registry,
        handles: Handles,
        listings: Listings,
        situation: Situation,
        tombs: Tombs,
    ) -> None:
        self._registry = registry
        self._handles = handles
        self._listings = listings
        self._situation = situation
        self._tombs = tombs
        self._waiting: dict[str, Stream] = {}  # paths of copies whose originals are not truncated

    def adopt(self, stream: Stream) -> bool:
        """Read on in the copy of a file that was truncated, if there is one."""
        self._listings.clear()
        try:
            beside = self._listings.family(stream.home)
        except OSError as error:
            self._situation.complain(os.path.dirname(stream.home), error)
            return False
        return any(self._adopt(stream, path) for path in beside if names.is_related(stream.home, path))

    def original_of(self, path: str, fd: int, status: os.stat_result) -> Stream | None:
        """The stream that the file at `path`, not known by its inode, is nothing but a copy of. Raises OSError."""
        before = self._waiting.pop(path, None)
        for stream in self._family(path):
            if stream.gone or stream.key == (status.st_dev, status.st_ino):
                continue
            # Files with the same lines again and again are no copies: a copy is made of what is in place, and later.
            is_in_place = stream.left_home_s is None or stream is before
            if not is_in_place or status.st_ctime_ns < stream.nonce:
                continue
            # A short file under any name: too little to tell.
            if status.st_size < FINGERPRINT_BYTES and not names.is_rotated(stream.home, path, separated=True):
                continue
            if self._is_copy(stream, fd, status):
                self._waiting[path] = stream
                return stream
        return None

    def has(self, path: str) -> bool:
        """Whether the file at `path` was nothing but a copy when it was looked at last."""
        return path in self._waiting

    def is_being_made(self, path: str, home: str) -> bool:
        """Whether the file at `path` is nothing but the beginning of what is at `home`, which was not changed since.

        Raises OSError."""
        copy, original = open_regular(path), open_regular(home)
        try:
            return (
                copy is not None
                and original is not None
                and copy[1].st_mtime_ns >= original[1].st_mtime_ns
                and is_prefix(copy[0], copy[1].st_size, original[0])
            )
        finally:
            for opened in filter(None, (copy, original)):
                os.close(opened[0])

    def forget(self, stream: Stream) -> None:
        """The original is in storage: so is all that its copies have."""
        for path in [path for path, original in self._waiting.items() if original is stream]:
            del self._waiting[path]
            opened = open_regular(path)
            if opened is None:
                continue
            fd, status = opened
            try:
                if stream.end is not None and status.st_size <= stream.end:
                    self._tombs.add([_tomb(fd, status)])
            finally:
                os.close(fd)

    def _family(self, path: str) -> Iterator[Stream]:
        for home in names.homes_of(path):
            yield from self._registry.at_home(home)

    def _is_copy(self, stream: Stream, fd: int, status: os.stat_result) -> bool:
        whole = self._handles.get(stream)
        if whole is not None and is_intact(stream, whole):
            size = status.st_size
            return size <= os.fstat(whole).st_size and is_prefix(fd, size, whole)
        return was_copied(stream, fd, status)

    def _adopt(self, stream: Stream, path: str) -> bool:
        if path in self._situation.here:
            return False
        try:
            opened = open_regular(path)
            if opened is None:
                return False
            fd, status = opened
            key = (status.st_dev, status.st_ino)
            finished = self._tombs.cover(key, fd, status.st_size)
            taken = finished or self._registry.at_inode(key) is not None
            if taken or not was_copied(stream, fd, status):
                os.close(fd)
                return False
        except OSError as error:
            self._situation.complain(path, error)
            return False
        _log.info("stream_continues_in_copy", stream=stream.id, path=names.display(path))
        self._waiting.pop(path, None)
        self._registry.move(stream, key)
        self._handles.put(stream, fd)
        stream.where, stream.size, stream.mtime_ns = path, status.st_size, status.st_mtime_ns
        self._situation.changed = True
        return True


def _tomb(fd: int, status: os.stat_result) -> Tomb:
    begin, end = Fingerprint.of(os.pread(fd, FINGERPRINT_BYTES, 0)), status.st_size
    return Tomb(status.st_dev, status.st_ino, begin.length, begin.hash, end, mark=mark_at(fd, end).hash)
