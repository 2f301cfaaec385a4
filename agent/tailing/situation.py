"""What is shared by those who follow files: which stream is where, and what is yet to be told or looked at."""

from __future__ import annotations

import os

import structlog

from agent.tailing import names
from agent.tailing.stream import Stream
from qanat.clock import Clock
from qanat.component import StreamEvent, StreamFound

_log = structlog.get_logger()


class Situation:
    """Facts, and no decisions.

    `here`: the stream at each watched path. `away`: streams that left their home, or exist nowhere. `links`: the watched
    paths that are links, by what they point to. `recheck`: paths to look at again. `news`: for the owner of the source.
    `changed`: the state should be saved. `appeared`: it must be, before `news` are told.
    """

    def __init__(self, clock: Clock) -> None:
        self.here: dict[str, Stream] = {}
        self.away: dict[Stream, None] = {}
        self.links: dict[str, set[str]] = {}
        self.recheck: set[str] = set()
        self.news: list[StreamEvent] = []
        self.changed = False
        self.appeared = False
        self._clock = clock
        self._targets: dict[str, str] = {}  # of links
        self._complained: set[str] = set()

    def take_recheck(self) -> set[str]:
        """Paths to look at again."""
        paths, self.recheck = self.recheck, set()
        return paths

    def leave(self, path: str, stream: Stream) -> None:
        """The stream is not at this path any more."""
        del self.here[path]
        stream.at.discard(path)
        if path == stream.where:
            stream.where = None
        if path == stream.home:
            stream.followed_s = stream.ceded = None
        if stream.end is None and (path == stream.home or not stream.at):
            stream.left_home_s = self._clock.monotonic_s()
            stream.settled = False
            self.away[stream] = None

    def leave_all(self, stream: Stream) -> None:
        """The stream is at no path any more: what is there now has to be found out."""
        for path in list(stream.at):
            self.leave(path, stream)
            self.recheck.add(path)

    def report(self, stream: Stream) -> None:
        """Tell the owner of a stream."""
        stream.reported = True
        self.news.append(StreamFound(stream.id, stream.acked))

    def follow_link(self, path: str) -> None:
        """If `path` is a link, remember what it points to now, where changes are noticed."""
        target = os.path.realpath(path) if os.path.islink(path) else None
        before = self._targets.pop(path, None)
        if before is not None and before != target:
            self.links[before].discard(path)
            if not self.links[before]:
                del self.links[before]
        if target is not None:
            self._targets[path] = target
            self.links.setdefault(target, set()).add(path)

    def complain(self, path: str, why: object) -> None:
        """Warn once of a path that can't be read; it is tried again whenever it changes."""
        if path not in self._complained:
            self._complained.add(path)
            _log.warning("tail_path_skipped", path=names.display(path), why=str(why))

    def is_well(self, path: str) -> None:
        """The path can be read: the next trouble is worth a warning again."""
        self._complained.discard(path)
