"""Which stream is at which path: discovery, growth, rotation and truncation.

Theory of operation. `check(paths)` looks at paths where something may have happened, in four steps: streams that are
no longer at their path leave it; what was created there and rotated away since is found by its name; what is at the path
now arrives, as a known stream (same inode, same first bytes) or a new one; streams that left and arrived nowhere are
away. `settle()` looks after those: read to a line end and quiet for a moment, they let the file that took their place
be read; once they have not grown for `rotate_wait` and are read to the end, their end is final. A stream whose bytes
are gone (truncated, overwritten) ends at the furthest position that was read, or lives on in the copy that copytruncate
made.
"""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Iterable

import structlog

from agent.tailing.content import is_intact
from agent.tailing.copies import Copies
from agent.tailing.endings import Endings
from agent.tailing.handles import Handles, Listings, open_regular
from agent.tailing.identity import FINGERPRINT_BYTES, Fingerprint, Known
from agent.tailing.late import Late
from agent.tailing.missed import Missed
from agent.tailing.newcomers import Newcomers
from agent.tailing.registry import Registry
from agent.tailing.situation import Situation
from agent.tailing.stream import Stream
from qanat.component import Context

_log = structlog.get_logger()

# A file that took another's place is read when that one has not grown for so long. One writer is done with the old file
# before it writes to the new one; this is for those who switch together, as the workers of a server do: within
# milliseconds of a signal. Longer is a gap in delivery at each rotation, shorter is less often in order.
_SWITCH_S = 0.5


class Tracker:
    """Follows files.

    `known`: streams that are known downstream, only while identifying files without local state. `sizes_at_open`: where
    files begin, by device and inode, with start="end".
    """

    def __init__(
        self,
        context: Context,
        registry: Registry,
        handles: Handles,
        listings: Listings,
        situation: Situation,
        newcomers: Newcomers,
        missed: Missed,
        copies: Copies,
        endings: Endings,
        late: Late,
        rotate_wait_s: float,
    ) -> None:
        self._count = context.count
        self._clock = context.clock
        self._registry = registry
        self._handles = handles
        self._listings = listings
        self._situation = situation
        self._newcomers = newcomers
        self._missed = missed
        self._copies = copies
        self._endings = endings
        self._late = late
        self._rotate_wait_s = rotate_wait_s
        self.known: Known | None = None
        self.sizes_at_open: dict[tuple[int, int], int] = {}

    # -- looking at paths ---------------------------------------------------------------------------------------------

    def check(self, paths: Iterable[str]) -> None:
        """Look at what is at `paths` now."""
        self._listings.clear()
        arrivals: list[tuple[str, os.stat_result]] = []
        leavers: dict[Stream, None] = {}
        replaced: list[str] = []
        for path in paths:
            status = self._stat(path)
            stream = self._situation.here.get(path)
            if stream is not None and status is not None and (status.st_dev, status.st_ino) == stream.key:
                self._observe_at(path, stream, status)
                if path in stream.at:
                    continue
            elif stream is not None:
                self._situation.leave(path, stream)
                leavers[stream] = None
            if self._registry.seen_ns(path) is not None and not self._is_latest(path, status):
                replaced.append(path)
            self._situation.follow_link(path)
            if status is not None:
                arrivals.append((path, status))
        for home in replaced:
            self._find_missed(home)
        # Short names first: `app.log` is the original of `app.log.1`.
        for path, status in sorted(arrivals, key=lambda arrival: (len(arrival[0]), arrival[0])):
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
            self._situation.complain(stream.where or stream.home, error)
            return
        if not same:
            self._endings.lose(stream, "truncated")
            return
        if status.st_size > stream.size:
            stream.grown_at_s = self._clock.monotonic_s()
            stream.held = stream.flush = False
        stream.size = max(stream.size, status.st_size)
        stream.mtime_ns = status.st_mtime_ns
        self._registry.enqueue(stream)

    def _observe_at(self, path: str, stream: Stream, status: os.stat_result) -> None:
        self.observe(stream, status)
        if path == stream.home and path in stream.at:
            stream.seen_ns = status.st_mtime_ns

    def verify(self, stream: Stream) -> bool:
        """Whether the file still begins as it did, and what was before the read position still is.

        Raises OSError; a file that can't be found is not the same."""
        fd = self._handles.get(stream)
        if fd is None or not is_intact(stream, fd):
            return False
        if stream.fingerprint.length < FINGERPRINT_BYTES:
            fingerprint = Fingerprint.of(os.pread(fd, FINGERPRINT_BYTES, 0))
            self._situation.changed |= fingerprint != stream.fingerprint
            stream.fingerprint = fingerprint
        return True

    def overtaken(self, stream: Stream, position: int) -> None:
        """More is in storage than the file has (it lost its end, in a crash of the host): what was stored stays
        stored, and what is written from now on is another stream."""
        fd = self._handles.get(stream)
        if fd is not None:
            self.observe(stream, os.fstat(fd))
        if stream.end is not None or position <= stream.size:
            return
        self._count("seeks_clamped", 1)
        _log.warning("seek_beyond_end", stream=stream.id, position=position, size_bytes=stream.size)
        self.sizes_at_open[stream.key] = stream.size
        self._situation.leave_all(stream)
        stream.high = position
        self._endings.bury(stream)

    def _is_latest(self, path: str, status: os.stat_result | None) -> bool:
        if status is None:
            return False
        stream = self._registry.at_inode((status.st_dev, status.st_ino))
        return stream is not None and stream is self._registry.latest(path)

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._situation.complain(path, error)
            return None
        if stat_module.S_ISREG(status.st_mode):
            return status
        self._situation.complain(path, "not a regular file")
        return None

    # -- coming and going ---------------------------------------------------------------------------------------------

    def _find_missed(self, home: str) -> None:
        try:
            self._missed.find(home)
        except OSError as error:
            self._situation.complain(os.path.dirname(home), error)

    def _find_again(self, stream: Stream) -> None:
        try:
            if self._handles.get(stream) is None:
                self._endings.vanished(stream)
        except OSError as error:
            self._situation.complain(stream.home, error)

    def _arrive(self, path: str, status: os.stat_result) -> None:
        stream = self._registry.at_inode((status.st_dev, status.st_ino))
        try:
            if stream is not None:
                if self._arrived_as(stream, path):
                    self._settle_in(stream, path, status)
                    return
                self._endings.lose(stream, "inode reused")
            if status.st_size > 0:
                self._discover(path, status)
        except OSError as error:
            self._situation.complain(path, error)

    def _arrived_as(self, stream: Stream, path: str) -> bool:
        stream.where = self._listings.real(path)
        status = os.stat(path)
        return status.st_size >= stream.size and self.verify(stream)

    def _settle_in(self, stream: Stream, path: str, status: os.stat_result) -> None:
        self._situation.here[path] = stream
        stream.at.add(path)
        if stream.where is None:
            stream.where = self._listings.real(path)
        if path == stream.home:
            stream.left_home_s = None
            stream.settled = False
            self._situation.away.pop(stream, None)
        self._observe_at(path, stream, status)
        self._registry.progress(stream)

    def _discover(self, path: str, looked_at: os.stat_result) -> None:
        opened = open_regular(path)
        if opened is None:
            return
        fd, status = opened
        try:
            stream = None
            if (status.st_dev, status.st_ino) == (looked_at.st_dev, looked_at.st_ino):
                stream = self._identify(path, fd, status)
            else:  # it took another's place just now, which has to be found first
                self._situation.recheck.add(path)
        except BaseException:
            os.close(fd)
            raise
        if stream is None:
            os.close(fd)
            return
        self._situation.here[path] = stream
        stream.at.add(path)
        self._handles.put(stream, fd)
        self._situation.is_well(path)

    def _identify(self, path: str, fd: int, status: os.stat_result) -> Stream | None:
        key = (status.st_dev, status.st_ino)
        head = os.pread(fd, FINGERPRINT_BYTES, 0)
        other = self._registry.at_inode(key)
        if not head or other is not None:  # empty again, or the path was switched to a known file meanwhile
            self._situation.recheck.add(path)
            return None
        add = self._newcomers.add
        taken = self.known.take(status.st_ino, head, status.st_size) if self.known is not None else None
        if taken is not None:
            return add(taken[0], path, status, fd, taken[1])
        start = self._late.start_of(key, fd, status.st_size)
        if self._late.is_over(key):  # it came back and has not grown: nothing to read yet
            return None
        if not start and self._copies.original_of(path, fd, status) is not None:
            return None
        start = max(start, min(status.st_size, self.sizes_at_open.pop(key, 0)))
        return add(self._newcomers.new_id(status.st_ino, head), path, status, fd, start)

    # -- away from home -----------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Look after streams that left their path: their end is final once they are quiet and read."""
        self._listings.clear()
        for stream in list(self._situation.away):
            try:
                self._settle(stream)
            except OSError as error:
                self._situation.complain(stream.where or stream.home, error)

    def _settle(self, stream: Stream) -> None:
        fd = self._handles.get(stream)
        if fd is None:
            self._endings.vanished(stream)
            return
        self.observe(stream, os.fstat(fd))
        if stream.end is not None or stream.left_home_s is None:
            self._situation.away.pop(stream, None)
            return
        if stream.at and self._is_a_log_of_its_own(stream):
            self._situation.away.pop(stream)
            stream.left_home_s = None
            self._registry.progress(stream)
            return
        self._cede(stream)
        quiet_s = self._clock.monotonic_s() - max(stream.left_home_s, stream.grown_at_s)
        if quiet_s < self._rotate_wait_s or stream.cursor is None:
            return
        stream.settled = True
        if stream.has_data:
            return
        if stream.at:
            self._situation.away.pop(stream)
            self._registry.progress(stream)
        else:
            stream.where = stream.where or self._listings.find(stream)
            self._endings.pin(stream, stream.size)

    def _cede(self, stream: Stream) -> None:
        """Let the successor be read before this one is over: the writer has gone on to it. A line without its end may be
        completed, and is not cut in two by the successor's lines."""
        if stream.ceded is not None or not stream.succ:
            return
        now_s = self._clock.monotonic_s()
        if stream.followed_s is None:
            stream.followed_s = now_s
        quiet_s = now_s - max(stream.followed_s, stream.grown_at_s)
        if quiet_s < min(_SWITCH_S, self._rotate_wait_s):
            return
        if stream.held:  # its last event ends here, or in the file that took its place
            stream.held, stream.flush = False, True
            self._registry.enqueue(stream)
        elif stream.is_read_whole:
            stream.ceded = stream.size
            self._registry.progress(stream)

    def _is_a_log_of_its_own(self, stream: Stream) -> bool:
        """One that looked rotated by its name, but goes on growing: nobody has to wait for its end."""
        return stream.missed_s is not None and stream.grown_at_s > stream.missed_s + self._rotate_wait_s
