"""Recognising files after a restart: from the state file, or from the ids that collectors know."""

from __future__ import annotations

import os

import structlog

from agent.tailing import names
from agent.tailing.discovery import Discovery
from agent.tailing.endings import Endings
from agent.tailing.handles import Handles, Listings, open_regular
from agent.tailing.identity import FINGERPRINT_BYTES, Fingerprint, Mark, StreamId
from agent.tailing.missed import Missed
from agent.tailing.newcomers import Newcomers
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.state import Loaded, StreamState
from agent.tailing.stream import Stream
from agent.tailing.tombs import Tombs
from agent.tailing.tracker import Tracker
from qanat.clock import Clock

_log = structlog.get_logger()


class Recovery:
    """Puts streams that an earlier process knew back into the registry."""

    def __init__(
        self,
        tracker: Tracker,
        registry: Registry,
        handles: Handles,
        listings: Listings,
        situation: Situation,
        newcomers: Newcomers,
        missed: Missed,
        endings: Endings,
        tombs: Tombs,
        discovery: Discovery,
        clock: Clock,
    ) -> None:
        self._tracker = tracker
        self._registry = registry
        self._handles = handles
        self._listings = listings
        self._situation = situation
        self._newcomers = newcomers
        self._missed = missed
        self._endings = endings
        self._tombs = tombs
        self._discovery = discovery
        self._clock = clock

    def restore(self, state: Loaded) -> None:
        """Streams of the state file, before paths are looked at."""
        for saved in state.streams:
            identity = StreamId.parse(saved.id)
            if identity is not None:
                self._newcomers.nonce_max = max(self._newcomers.nonce_max, identity.nonce)
                self._registry.add(self._stream(saved, identity.nonce))
        self._tombs.add(state.tombs)
        self._registry.left.restore(home for home in state.homes if self._is_left(names.decode(home.path)))
        for home in self._registry.homes():
            self._find_missed(home)

    def _is_left(self, home: str) -> bool:
        return self._discovery.matches(home) and self._registry.latest(home) is None

    def finish_restore(self) -> None:
        """After the watched paths were looked at: find streams that are elsewhere now, and report all."""
        for stream in list(self._registry):
            if stream.home not in stream.at:
                self._find_away(stream)
        for stream in self._registry:
            if not stream.reported:
                self._situation.report(stream)

    def find_known_siblings(self, directories: list[str]) -> None:
        """Without local state: files beside the watched ones that were rotated away while being read."""
        known = self._tracker.known
        for directory in directories:
            try:
                beside = self._listings.names(directory)
            except OSError as error:
                self._situation.complain(directory, error)
                continue
            for inode, name in beside.items():
                if known is not None and inode in known:
                    self.recognise(os.path.join(directory, name))

    def _stream(self, saved: StreamState, nonce: int) -> Stream:
        home = names.decode(saved.home)
        return Stream(
            id=saved.id,
            nonce=nonce,
            home=home,
            dev=saved.dev,
            ino=saved.ino,
            fingerprint=Fingerprint(saved.fingerprint_bytes, saved.fingerprint),
            attributes=self._newcomers.attributes(home),
            start=saved.acked,
            acked=saved.acked,
            size=saved.size,
            mtime_ns=saved.mtime_ns,
            grown_at_s=self._clock.monotonic_s(),
            seen_ns=saved.mtime_ns if saved.seen_ns is None else saved.seen_ns,
            mark=Mark(saved.mark_position, saved.mark) if saved.mark else None,
            where=names.decode(saved.where) if saved.where is not None else None,
            high=saved.acked,
            end=saved.end,
            spliced=saved.spliced,
        )

    def _find_away(self, stream: Stream) -> None:
        try:
            fd = self._handles.get(stream)
            if fd is None:
                self._endings.vanished(stream)
                return
            status = os.fstat(fd)
            if not self._tracker.verify(stream):
                self._endings.lose(stream, "changed while the agent was down")
                return
        except OSError as error:
            self._situation.complain(stream.where or stream.home, error)
            self._situation.away[stream] = None  # tried again
            stream.left_home_s = self._clock.monotonic_s()
            return
        if stream.end is not None:
            return
        stream.size, stream.mtime_ns = status.st_size, status.st_mtime_ns
        self._newcomers.away_since(stream, status)

    def _find_missed(self, home: str) -> None:
        """Files that were at `home` between the last one that is known and the one that is there now."""
        last = self._registry.latest(home)
        try:
            if last is None or not self._is_in_place(last, home):
                self._missed.find(home)
        except OSError as error:
            self._situation.complain(home, error)

    def _is_in_place(self, stream: Stream, home: str) -> bool:
        try:
            status = os.stat(home)
        except FileNotFoundError:
            return False
        if (status.st_dev, status.st_ino) != stream.key:
            return False
        is_untouched = status.st_size == stream.size and status.st_mtime_ns == stream.mtime_ns
        return is_untouched or self._tracker.verify(stream)

    def recognise(self, path: str) -> bool:
        """Whether `path` is a known stream; if it has something left to read, it is one again."""
        try:
            opened = open_regular(path)
        except OSError as error:
            self._situation.complain(path, error)
            return False
        if opened is None:
            return False
        fd, status = opened
        taken = self._take(fd, status)
        if taken is None or taken[1] == status.st_size:
            os.close(fd)
            return taken is not None
        identity, position = taken
        stream = self._newcomers.add(identity, self.home_of(path) or path, status, fd, position, path)
        self._handles.put(stream, fd)
        self._newcomers.away_since(stream, status)
        return True

    def _take(self, fd: int, status: os.stat_result) -> tuple[StreamId, int] | None:
        key, known = (status.st_dev, status.st_ino), self._tracker.known
        head = os.pread(fd, FINGERPRINT_BYTES, 0)
        if (
            known is None
            or self._registry.at_inode(key) is not None
            or self._tombs.cover(key, fd, status.st_size)
        ):
            return None
        return known.take(status.st_ino, head, status.st_size)

    def home_of(self, path: str) -> str | None:
        """The watched path that `path` was rotated away from, by its name."""
        for home in names.homes_of(path):
            if self._discovery.matches(home) and names.is_rotated(home, path, separated=True):
                return home
        return None
