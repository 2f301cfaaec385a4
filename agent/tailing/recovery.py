"""Recognising files after a restart: from the state file, or from the ids that collectors know."""

from __future__ import annotations

import os
import re
import stat

import structlog

from agent.tailing.discovery import Discovery
from agent.tailing.handles import Handles, Listings, open_regular
from agent.tailing.identity import FINGERPRINT_BYTES, Fingerprint, Mark, StreamId
from agent.tailing.registry import Registry
from agent.tailing.state import State, StreamState
from agent.tailing.stream import Stream
from agent.tailing.tracker import Tracker
from qanat.clock import Clock

_log = structlog.get_logger()

# What rotation appends to a name: numbers and dates, nothing compressed.
_ROTATED = re.compile(r"[-._]?\d[-._:T\d]*")


class Recovery:
    """Puts streams that an earlier process knew back into the registry."""

    def __init__(
        self, tracker: Tracker, registry: Registry, handles: Handles, listings: Listings, clock: Clock
    ) -> None:
        self._tracker = tracker
        self._registry = registry
        self._handles = handles
        self._listings = listings
        self._clock = clock

    def restore(self, state: State, discovery: Discovery) -> None:
        """Streams of the state file, before paths are looked at."""
        for saved in state.streams:
            identity = StreamId.parse(saved.id)
            if identity is not None:
                self._tracker.nonce_max = max(self._tracker.nonce_max, identity.nonce)
                self._registry.add(self._stream(saved, identity.nonce))
        self._tracker.tombs.add(state.tombs)
        for home in self._registry.homes():
            self._find_missed(home, discovery)

    def finish_restore(self) -> None:
        """After the watched paths were looked at: find streams that are elsewhere now, and report all."""
        for stream in list(self._registry):
            if stream.home not in stream.at and stream.end is None:
                self._find_away(stream)
        for stream in self._registry:
            if not stream.reported:
                self._tracker.report(stream)

    def find_known_siblings(self, directories: list[str]) -> None:
        """Without local state: files beside the watched ones that were rotated away while being read."""
        known = self._tracker.known
        for directory in directories:
            for inode, name in self._listings.names(directory).items():
                if known is not None and inode in known:
                    self._recognise(os.path.join(directory, name))

    def _stream(self, saved: StreamState, nonce: int) -> Stream:
        return Stream(
            id=saved.id,
            nonce=nonce,
            home=saved.home,
            dev=saved.dev,
            ino=saved.ino,
            fingerprint=Fingerprint(saved.fingerprint_bytes, saved.fingerprint),
            attributes=self._tracker.attributes(saved.home),
            start=saved.acked,
            acked=saved.acked,
            size=saved.size,
            mtime_ns=saved.mtime_ns,
            grown_at_s=self._clock.monotonic_s(),
            mark=Mark(saved.mark_position, saved.mark) if saved.mark else None,
            where=saved.where,
            high=saved.acked,
        )

    def _find_away(self, stream: Stream) -> None:
        try:
            fd = self._handles.get(stream)
            if fd is None:
                self._tracker.vanished(stream)
                return
            status = os.fstat(fd)
            if status.st_size < stream.size or not self._tracker.verify(stream):
                self._tracker.lose(stream, "changed while the agent was down")
                return
        except OSError as error:
            self._tracker.complain(stream.where or stream.home, error)
            return
        stream.size, stream.mtime_ns = status.st_size, status.st_mtime_ns
        stream.grown_at_s = self._last_change_s(status)
        self._tracker.away(stream, stream.grown_at_s)

    def _last_change_s(self, status: os.stat_result) -> float:
        """When the file was written or renamed last, on the monotonic clock; not in the future."""
        age_ns = self._clock.wall_ns() - max(status.st_mtime_ns, status.st_ctime_ns)
        return self._clock.monotonic_s() - max(0, age_ns) / 1e9

    def _find_missed(self, home: str, discovery: Discovery) -> None:
        """Files that were created at `home` and rotated away while the agent was down: never seen, but newer than
        the last one seen, and named as rotation names them."""
        last = self._registry.latest(home)
        try:
            status = os.stat(home)
        except OSError:
            pass
        else:
            if last is None or (status.st_dev, status.st_ino) == last.key:
                return
        directory, base = os.path.split(home)
        missed = []
        for name in self._listings.names(directory).values():
            path = os.path.join(directory, name)
            if (
                name.startswith(base)
                and _ROTATED.fullmatch(name[len(base) :])
                and not discovery.matches(path)
            ):
                missed.append(path)
        self._add_missed(home, missed, last.mtime_ns if last is not None else 0)

    def _add_missed(self, home: str, paths: list[str], after_ns: int) -> None:
        files = []
        for path in paths:
            try:
                status = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_mtime_ns > after_ns and self._unknown(status):
                files.append((status.st_mtime_ns, path))
        for _mtime_ns, path in sorted(files):
            self._add_away(path, home)

    def _unknown(self, status: os.stat_result) -> bool:
        key = (status.st_dev, status.st_ino)
        return self._registry.at_inode(key) is None and key not in self._tracker.tombs

    def _add_away(self, path: str, home: str) -> None:
        opened = open_regular(path)
        if opened is None:
            return
        fd, status = opened
        head = os.pread(fd, FINGERPRINT_BYTES, 0)
        if not head:
            os.close(fd)
            return
        stream = self._tracker.add(self._tracker.new_id(status.st_ino, head), home, status, head, 0, path)
        self._handles.put(stream, fd)
        self._tracker.away(stream, self._last_change_s(status))

    def _recognise(self, path: str) -> None:
        """If `path` is a known stream with something left to read, it is one again."""
        try:
            opened = open_regular(path)
        except OSError as error:
            self._tracker.complain(path, error)
            return
        if opened is None:
            return
        fd, status = opened
        head = os.pread(fd, FINGERPRINT_BYTES, 0)
        known = self._tracker.known
        taken = (
            known.take(status.st_ino, head, status.st_size)
            if known is not None and self._unknown(status)
            else None
        )
        if taken is None or taken[1] == status.st_size:
            os.close(fd)
            return
        identity, position = taken
        stream = self._tracker.add(identity, self._home_of(path), status, head, position, path)
        self._handles.put(stream, fd)
        self._tracker.away(stream, self._last_change_s(status))

    def _home_of(self, path: str) -> str:
        """The home among the known ones that `path` was rotated away from: the longest that it begins with."""
        homes = [home for home in self._registry.homes() if path.startswith(home)]
        return max(homes, key=len, default=path)
