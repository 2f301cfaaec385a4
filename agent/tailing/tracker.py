"""Which stream is at which path: discovery, growth, rotation, truncation and the end of files.

Theory of operation. `check(paths)` looks at paths where something may have happened, in three steps: streams that are
no longer at their path leave it; what is at the path instead arrives, as a known stream (same inode, same first bytes)
or a new one; streams that left and arrived nowhere are away. `settle()` looks after those: once they have not grown for
`rotate_wait` and are read to the end, their end is final. A stream whose bytes are gone (truncated, overwritten) ends
at the furthest position that was read, or lives on in the copy that copytruncate made.
"""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Iterable

import structlog

from agent.tailing.content import continues, open_copy
from agent.tailing.handles import Handles, Listings, open_regular
from agent.tailing.identity import FINGERPRINT_BYTES, Fingerprint, Known, StreamId
from agent.tailing.registry import Registry
from agent.tailing.stream import Stream
from agent.tailing.tombs import Tombs
from qanat.component import Context, StreamEvent, StreamFinished, StreamFound

_log = structlog.get_logger()


class Tracker:
    """Follows files. `news` are for the owner of the source; `changed` says that the state should be saved."""

    def __init__(
        self, context: Context, registry: Registry, handles: Handles, listings: Listings, rotate_wait_s: float
    ) -> None:
        self._context = context
        self._registry = registry
        self._handles = handles
        self._listings = listings
        self._rotate_wait_s = rotate_wait_s
        self._here: dict[str, Stream] = {}
        self._away: dict[Stream, None] = {}
        self._complained: set[str] = set()
        self.recheck: set[str] = set()  # paths to look at again
        self.nonce_max = 0
        self.known: Known | None = None  # only while identifying files without local state
        self.sizes_at_open: dict[tuple[int, int], int] = {}  # start="end"
        self.tombs = Tombs()
        self.news: list[StreamEvent] = []
        self.links: dict[str, set[str]] = {}  # where links point to: the watched paths
        self.changed = False
        self.appeared = False  # a stream that must be in the state file before it is reported

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to look after."""
        return bool(self._away)

    def take_recheck(self) -> set[str]:
        """Paths to look at again."""
        paths, self.recheck = self.recheck, set()
        return paths

    # -- looking at paths ---------------------------------------------------------------------------------------------

    def check(self, paths: Iterable[str]) -> None:
        """Look at what is at `paths` now."""
        self._listings.clear()
        arrivals: list[tuple[str, os.stat_result]] = []
        leavers: dict[Stream, None] = {}
        for path in paths:
            status = self._stat(path)
            stream = self._here.get(path)
            if stream is not None:
                if status is not None and (status.st_dev, status.st_ino) == stream.key:
                    self.observe(stream, status)
                    continue
                self._leave(path, stream)
                leavers[stream] = None
            self._link(path)
            if status is not None:
                arrivals.append((path, status))
        for path, status in arrivals:
            self._arrive(path, status)
        for stream in leavers:
            if not stream.at and stream.end is None and not self._handles.has(stream):
                self._find_again(stream)

    def observe(self, stream: Stream, status: os.stat_result) -> None:
        """The file of a stream has this status now: did it grow, or is it another one?"""
        if stream.end is not None:
            return
        if status.st_size == stream.size and status.st_mtime_ns == stream.mtime_ns:
            return
        try:
            same = status.st_size >= stream.size and self.verify(stream)
        except OSError as error:
            self.complain(stream.where or stream.home, error)
            return
        if not same:
            self.lose(stream, "truncated")
            return
        if status.st_size > stream.size:
            stream.grown_at_s = self._context.clock.monotonic_s()
        stream.size = max(stream.size, status.st_size)
        stream.mtime_ns = status.st_mtime_ns
        self._registry.enqueue(stream)

    def verify(self, stream: Stream) -> bool:
        """Whether the file still begins as it did, and what was before the read position still is.

        Raises OSError; a file that can't be found is not the same."""
        fd = self._handles.get(stream)
        if fd is None:
            return False
        head = os.pread(fd, FINGERPRINT_BYTES, 0)
        if not stream.fingerprint.matches(head) or not continues(stream, fd):
            return False
        if len(head) > stream.fingerprint.length:
            stream.fingerprint = Fingerprint.of(head)
            self.changed = True
        return True

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.complain(path, error)
            return None
        if stat_module.S_ISREG(status.st_mode):
            return status
        self.complain(path, "not a regular file")
        return None

    def complain(self, path: str, why: object) -> None:
        """Warn once of a path that can't be read; it is tried again whenever it changes."""
        if path not in self._complained:
            self._complained.add(path)
            _log.warning("tail_path_skipped", path=path, why=str(why))

    # -- coming and going ---------------------------------------------------------------------------------------------

    def _leave(self, path: str, stream: Stream) -> None:
        del self._here[path]
        stream.at.discard(path)
        if path == stream.where:
            stream.where = None
        if stream.end is not None:
            return
        if path == stream.home or not stream.at:
            stream.left_home_s = self._context.clock.monotonic_s()
            stream.settled = False
            self._away[stream] = None

    def _arrive(self, path: str, status: os.stat_result) -> None:
        stream = self._registry.at_inode((status.st_dev, status.st_ino))
        try:
            if stream is not None:
                if stream.end is not None or self._arrived_as(stream, path):
                    self._settle_in(stream, path, status)
                    return
                self.lose(stream, "inode reused")
            if status.st_size > 0:
                self._discover(path)
        except OSError as error:
            self.complain(path, error)

    def _arrived_as(self, stream: Stream, path: str) -> bool:
        stream.where = path
        status = os.stat(path)
        return status.st_size >= stream.size and self.verify(stream)

    def _settle_in(self, stream: Stream, path: str, status: os.stat_result) -> None:
        self._here[path] = stream
        stream.at.add(path)
        if stream.where is None:
            stream.where = path
        if path == stream.home:
            stream.left_home_s = None
            stream.settled = False
            self._away.pop(stream, None)
        self.observe(stream, status)
        self._registry.progress(stream)

    def _discover(self, path: str) -> None:
        opened = open_regular(path)
        if opened is None:
            return
        fd, status = opened
        try:
            stream = self._identify(path, fd, status)
        except BaseException:
            os.close(fd)
            raise
        if stream is None:
            os.close(fd)
            return
        self._here[path] = stream
        stream.at.add(path)
        self._handles.put(stream, fd)
        self._complained.discard(path)

    def _identify(self, path: str, fd: int, status: os.stat_result) -> Stream | None:
        key = (status.st_dev, status.st_ino)
        head = os.pread(fd, FINGERPRINT_BYTES, 0)
        other = self._registry.at_inode(key)
        if not head or other is not None:  # empty again, or the path was switched to a known file meanwhile
            self.recheck.add(path)
            return None
        taken = self.known.take(status.st_ino, head, status.st_size) if self.known is not None else None
        if taken is not None:
            return self.add(taken[0], path, status, head, taken[1])
        start = self.tombs.start_of(key, head, status.st_size)
        if key in self.tombs:  # it came back and has not grown: nothing to read yet
            return None
        start = max(start, min(status.st_size, self.sizes_at_open.pop(key, 0)))
        return self.add(self.new_id(status.st_ino, head), path, status, head, start)

    def new_id(self, inode: int, head: bytes) -> StreamId:
        """A stream id that is larger than all before."""
        self.nonce_max = max(self.nonce_max + 1, self._context.clock.wall_ns())
        return StreamId(inode, Fingerprint.of(head), self.nonce_max)

    def add(
        self,
        identity: StreamId,
        home: str,
        status: os.stat_result,
        head: bytes,
        position: int,
        path: str | None = None,
    ) -> Stream:
        """A stream that was not known to this process; `path`: where it is now, unless at home."""
        stream = Stream(
            id=str(identity),
            nonce=identity.nonce,
            home=home,
            dev=status.st_dev,
            ino=status.st_ino,
            fingerprint=Fingerprint.of(head),
            attributes=self.attributes(home),
            start=position,
            acked=position,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            grown_at_s=self._context.clock.monotonic_s(),
            where=path or home,
            high=position,
        )
        self._registry.add(stream)
        self.report(stream)
        self.changed = self.appeared = True
        _log.info(
            "stream_found", stream=stream.id, path=stream.where, position=position, size_bytes=stream.size
        )
        return stream

    def attributes(self, home: str) -> dict[str, str]:
        """What holds for all events of a file; Flume OG called the base name `tailSrcFile`."""
        return {"host": self._context.host, "file": home, "tailSrcFile": os.path.basename(home)}

    def report(self, stream: Stream) -> None:
        """Tell the owner of a stream."""
        stream.reported = True
        self.news.append(StreamFound(stream.id, stream.acked))

    def _link(self, path: str) -> None:
        if os.path.islink(path):
            self.links.setdefault(os.path.realpath(path), set()).add(path)

    # -- away from home -----------------------------------------------------------------------------------------------

    def away(self, stream: Stream, since_s: float) -> None:
        """A stream known from state that is not at its home."""
        stream.left_home_s = since_s
        self._away[stream] = None

    def settle(self) -> None:
        """Look after streams that left their path: their end is final once they are quiet and read."""
        self._listings.clear()
        for stream in list(self._away):
            try:
                self._settle(stream)
            except OSError as error:
                self.complain(stream.where or stream.home, error)

    def _settle(self, stream: Stream) -> None:
        fd = self._handles.get(stream)
        if fd is None:
            self.vanished(stream)
            return
        self.observe(stream, os.fstat(fd))
        if stream.end is not None or stream.left_home_s is None:
            self._away.pop(stream, None)
            return
        quiet_s = self._context.clock.monotonic_s() - max(stream.left_home_s, stream.grown_at_s)
        if quiet_s < self._rotate_wait_s or stream.cursor is None:
            return
        stream.settled = True
        if stream.has_data:
            return
        if stream.at:
            self._away.pop(stream)
            self._registry.progress(stream)
        else:
            self._pin(stream, stream.size)

    def _pin(self, stream: Stream, end: int) -> None:
        """Nothing beyond `end` is read any more."""
        self._away.pop(stream, None)
        stream.end = end
        self._registry.ready.pop(stream, None)
        self._registry.enqueue(stream)
        self.reached(stream)

    def reached(self, stream: Stream) -> None:
        """The stream was read or sought: report its end if it is there, and let its successor go on."""
        if (
            stream.end is not None
            and stream.cursor is not None
            and stream.cursor >= stream.end
            and not stream.finished
        ):
            stream.finished = True
            self.news.append(StreamFinished(stream.id, stream.end))
            _log.info("stream_finished", stream=stream.id, path=stream.home, end=stream.end)
        self._registry.progress(stream)

    def _find_again(self, stream: Stream) -> None:
        try:
            if self._handles.get(stream) is None:
                self.vanished(stream)
        except OSError as error:
            self.complain(stream.home, error)

    # -- the end of a file --------------------------------------------------------------------------------------------

    def vanished(self, stream: Stream) -> None:
        """The file can't be found any more, and was not open."""
        unread = stream.size - max(stream.high, stream.acked)
        if unread > 0 or not stream.reported:
            self._context.count("streams_lost", 1)
            _log.warning(
                "stream_lost", stream=stream.id, path=stream.home, unread_bytes=unread, why="not found"
            )
        self._bury(stream)

    def lose(self, stream: Stream, why: str) -> None:
        """The bytes of a stream are not in its file any more."""
        paths = list(stream.at)
        for path in paths:
            self._leave(path, stream)
        self.recheck.update(paths)
        maybe_unread = (
            stream.acked < stream.size or not stream.reported
        )  # it may have grown while the agent was down
        if stream.end is None and maybe_unread and self._adopt_copy(stream):
            return
        if not stream.reported:
            self._context.count("streams_lost", 1)
        unread = (stream.size if stream.end is None else stream.end) - max(stream.high, stream.acked)
        if unread > 0:
            self._context.count("bytes_lost_truncate", unread)
        _log.warning("stream_cut", stream=stream.id, path=stream.home, unread_bytes=max(0, unread), why=why)
        self._bury(stream)

    def _bury(self, stream: Stream) -> None:
        """End a stream whose bytes can't be read any more where reading got to."""
        self._registry.move(stream, None)
        self._away.pop(stream, None)
        self.changed = True
        if not stream.reported:
            self._registry.forget(stream)
            return
        stream.gone = True
        self._pin(stream, max(stream.high, stream.acked) if stream.end is None else stream.end)

    def overtaken(self, stream: Stream, position: int) -> None:
        """More is in storage than the file has (it lost its end, in a crash of the host): what was stored stays
        stored, and what is written from now on is another stream."""
        fd = self._handles.get(stream)
        if fd is not None:
            self.observe(stream, os.fstat(fd))
        if stream.end is not None or position <= stream.size:
            return
        self._context.count("seeks_clamped", 1)
        _log.warning("seek_beyond_end", stream=stream.id, position=position, size_bytes=stream.size)
        self.sizes_at_open[stream.key] = stream.size
        paths = list(stream.at)
        for path in paths:
            self._leave(path, stream)
        self.recheck.update(paths)
        stream.high = position
        self._bury(stream)

    def _adopt_copy(self, stream: Stream) -> bool:
        """Read on in the copy that copytruncate made, if there is one."""
        self._listings.clear()
        directory, base = os.path.split(stream.home)
        for name in sorted(self._listings.names(directory).values()):
            path = os.path.join(directory, name)
            if name == base or not name.startswith(base) or path in self._here:
                continue
            try:
                opened = open_copy(stream, path, self._is_taken)
            except OSError as error:
                self.complain(path, error)
                continue
            if opened is not None:
                self._move_to(stream, path, *opened)
                return True
        return False

    def _is_taken(self, key: tuple[int, int]) -> bool:
        return key in self.tombs or self._registry.at_inode(key) is not None

    def _move_to(self, stream: Stream, path: str, fd: int, status: os.stat_result) -> None:
        _log.info("stream_continues_in_copy", stream=stream.id, path=path)
        self._registry.move(stream, (status.st_dev, status.st_ino))
        self._handles.put(stream, fd)
        stream.where, stream.size, stream.mtime_ns = path, status.st_size, status.st_mtime_ns
        stream.left_home_s = stream.grown_at_s = self._context.clock.monotonic_s()
        self._away[stream] = None
        self.changed = True
        self._registry.enqueue(stream)

    def forget(self, stream: Stream) -> None:
        """A finished stream is in storage: drop it, but remember the file if it still exists somewhere."""
        self.changed = True
        for path in stream.at:
            self._here.pop(path, None)
            self.recheck.add(path)
        if not stream.gone and stream.end is not None:
            self._remember(stream, stream.end)
        self._registry.forget(stream)

    def _remember(self, stream: Stream, end: int) -> None:
        try:
            fd = self._handles.get(stream)
            exists = fd is not None and os.fstat(fd).st_nlink > 0
        except OSError:
            exists = False
        if exists:
            self.tombs.remember(stream, end)
