"""Streams that this process did not know before: their ids, their attributes, their first report."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import structlog

from agent.tailing import names
from agent.tailing.content import mark_at
from agent.tailing.handles import Handles, Listings, open_regular
from agent.tailing.identity import FINGERPRINT_BYTES, Fingerprint, StreamId
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.stream import Stream
from qanat.component import Context

_log = structlog.get_logger()

# Each with a line of its own in the log; a first look at a host with ten thousand files is one line more, not 2 MB.
_LOGGED_MAX = 100


class Newcomers:
    """Makes streams of files. `nonce_max`: the largest nonce that was ever seen. `more`: attributes by path."""

    def __init__(
        self,
        context: Context,
        registry: Registry,
        handles: Handles,
        listings: Listings,
        situation: Situation,
        more: Callable[[str], Mapping[str, str]] = lambda path: {},
    ) -> None:
        self._context = context
        self._registry = registry
        self._handles = handles
        self._listings = listings
        self._situation = situation
        self._more = more
        self.nonce_max = 0
        self._found = 0  # since `sum_up`
        self._log = _log

    def new_id(self, inode: int, head: bytes) -> StreamId:
        """A stream id that is larger than all before."""
        self.nonce_max = max(self.nonce_max + 1, self._context.clock.wall_ns())
        return StreamId(inode, Fingerprint.of(head), self.nonce_max)

    def add(
        self,
        identity: StreamId,
        home: str,
        status: os.stat_result,
        fd: int,
        position: int,
        path: str | None = None,
    ) -> Stream:
        """A stream that was not known to this process; `path`: where it is now, unless at home. Raises OSError."""
        stream = Stream(
            id=str(identity),
            nonce=identity.nonce,
            home=home,
            dev=status.st_dev,
            ino=status.st_ino,
            fingerprint=Fingerprint.of(os.pread(fd, FINGERPRINT_BYTES, 0)),
            attributes=self.attributes(home),
            start=position,
            acked=position,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            grown_at_s=self._context.clock.monotonic_s(),
            seen_ns=status.st_mtime_ns,
            # Many files may begin alike: until it is read, it is known by its end.
            mark=mark_at(fd, status.st_size) if status.st_size > FINGERPRINT_BYTES else None,
            # What a link points to, to find it when the link is switched.
            where=self._listings.real(path or home),
            high=position,
        )
        self._registry.add(stream)
        self._situation.report(stream)
        self._situation.changed = self._situation.appeared = True
        if self._found == 0:
            self._log = _log.bind()  # resolving the lazy logger costs more than a line that is not written
        self._found += 1
        (self._log.info if self._found <= _LOGGED_MAX else self._log.debug)(
            "stream_found",
            stream=stream.id,
            path=stream.attributes["file"] if path is None else names.display(path),
            position=position,
            size_bytes=stream.size,
        )
        return stream

    def sum_up(self) -> None:
        """They were told: log how many there were, if there were more than are logged one by one."""
        if self._found > _LOGGED_MAX:
            _log.info("streams_found", streams=self._found, logged=_LOGGED_MAX, rest="at level debug")
        self._found = 0

    def add_away(self, path: str, home: str, *, start: int = 0) -> Stream | None:
        """The file at `path` as a stream that was at `home` before; None when there is nothing in it.

        Raises OSError."""
        opened = open_regular(path)
        if opened is None:
            return None
        fd, status = opened
        head = os.pread(fd, FINGERPRINT_BYTES, 0)
        if not head:
            os.close(fd)
            return None
        stream = self.add(self.new_id(status.st_ino, head), home, status, fd, start, path)
        self._handles.put(stream, fd)
        self.away_since(stream, status)
        return stream

    def away_since(self, stream: Stream, status: os.stat_result) -> None:
        """The stream is not at its home, and was written or renamed last when its file says so."""
        age_ns = self._context.clock.wall_ns() - max(status.st_mtime_ns, status.st_ctime_ns)
        stream.left_home_s = stream.grown_at_s = self._context.clock.monotonic_s() - max(0, age_ns) / 1e9
        self._situation.away[stream] = None

    def attributes(self, home: str) -> dict[str, str]:
        """What holds for all events of a file; Flume OG called the base name `tailSrcFile`."""
        path = names.display(home)
        named = {"host": self._context.host, "file": path, "tailSrcFile": os.path.basename(path)}
        return {**named, **self._more(home)}
