"""The log that a fan-out's branches are fed from: batches in order, on the collector's disk, with a committed end.

    <directory>/<offset of its first byte, 20 digits>.log     frames of `collector.files.staging`

Offsets count bytes of the whole log and only grow. What is committed is an end; what lies behind it belongs to an unfinished
transaction and is cut off by `open`. *Thread*: `append`, `cut`, `open` by one; the rest by any.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from collector.files import disk, staging
from qanat.batch import Batch
from qanat.delivery.fan_out_token import LogPlace
from qanat.durable import replace_file, sync_directory
from qanat.errors import CorruptError, RetryableError
from qanat.limits import MIB

_log = structlog.get_logger(__name__)

# What is dropped at once when all branches have passed it. Small beside any disk, large beside the cost of a file.
SEGMENT_BYTES = 64 * MIB

_IDENTITY = "identity"


@dataclass(slots=True)
class _Segment:
    start: int
    path: Path


class BranchLog:
    """See the module. `capacity_bytes`: `append` refuses more than this between the slowest branch and the end."""

    def __init__(self, directory: Path, capacity_bytes: int, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._capacity_bytes = capacity_bytes
        self._segment_bytes = segment_bytes
        self._segments: list[_Segment] = []
        self._fd: int | None = None
        self._unsynced: list[int] = []  # descriptors of what the next sync makes durable
        self._has_news = False  # behind the last cut
        self._lock = threading.Lock()
        self.end = 0
        self.place = LogPlace()

    @property
    def directory(self) -> Path:
        """Where it is."""
        return self._directory

    def elsewhere(self, directory: Path) -> BranchLog:
        """One like this in another directory."""
        return BranchLog(directory, self._capacity_bytes, segment_bytes=self._segment_bytes)

    @property
    def begin(self) -> int:
        """Where the oldest kept byte is."""
        with self._lock:
            return self._segments[0].start if self._segments else self.end

    def open(self, end: int) -> None:
        """Go on behind `end`, which is committed. *Blocking*. Raises CorruptError when committed bytes are
        missing, RetryableError."""
        with disk.explained("opening the log of a fan-out in", self._directory), self._lock:
            self._close_files()
            disk.make_directories(self._directory)
            self.place = LogPlace(socket.gethostname(), str(self._directory.absolute()), self._identity())
            found = self._found()
            self._segments = [segment for segment in found if segment.start < end]
            for segment in found[len(self._segments) :]:
                segment.path.unlink()
            self.end = end
            if self._segments:
                self._go_on(self._segments[-1])

    def attach(self, begin: int, end: int) -> None:
        """Read `[begin, end)` of another process's log, and change nothing of it. *Blocking*. Raises CorruptError when it is
        not all there, RetryableError."""
        with disk.explained("reading the log of a fan-out in", self._directory), self._lock:
            self._segments = [segment for segment in self._found() if segment.start < end]
            self.end = end
            starts = [segment.start for segment in self._segments]
            ends = [each.start + each.path.stat().st_size for each in self._segments]
        if begin < end and not (
            starts and starts[0] <= begin and ends[-1] >= end and ends[:-1] == starts[1:]
        ):
            raise CorruptError(
                f"the log of a fan-out in {self._directory} does not have all bytes from {begin} to {end}: it is an older copy, "
                "or somebody removed or truncated files of it"
            )

    def is_at(self, place: LogPlace) -> bool:
        """Whether this is the very log that was at `place`. *Blocking*."""
        try:
            return (
                bool(place.identity) and (self._directory / _IDENTITY).read_text().strip() == place.identity
            )
        except OSError:
            return False

    def _found(self) -> list[_Segment]:
        return [_Segment(int(path.stem), path) for path in sorted(self._directory.glob("*.log"))]

    def _identity(self) -> str:
        """Given to the directory once, durably: one that is empty after a power failure would keep everybody from adopting what
        is in the log. Raises OSError."""
        path = self._directory / _IDENTITY
        if not (path.exists() and path.read_text().strip()):
            replace_file(path, [secrets.token_hex(16).encode() + b"\n"])
        return path.read_text().strip()

    def set_aside(self) -> None:
        """For a start at which no commit is known. If the store that knew was lost, this may be the only copy of acked events.
        *Blocking*. Raises RetryableError."""
        with disk.explained("setting aside the log of a fan-out in", self._directory):
            written = [path for path in sorted(self._directory.glob("*.log")) if path.stat().st_size]
            if not written:
                return
            aside = self._directory / f"set-aside-{time.time_ns()}"
            aside.mkdir()
            for path in written:
                path.rename(aside / path.name)
            sync_directory(aside)  # before the names are gone here
            sync_directory(self._directory)
            _log.warning("fan_out_log_set_aside", directory=str(aside), files=len(written))

    def _go_on(self, last: _Segment) -> None:
        committed = self.end - last.start
        size = last.path.stat().st_size
        if size < committed:
            raise CorruptError(
                f"{last.path} has {size} bytes, but {committed} were committed: somebody truncated it. Restore the file "
                "from a backup; branches that were to take events from it would lose them"
            )
        self._fd = os.open(last.path, os.O_WRONLY | os.O_CLOEXEC)
        os.ftruncate(self._fd, committed)
        os.lseek(self._fd, 0, os.SEEK_END)

    def append(self, batch: Batch) -> None:
        """Raises RetryableError, also when the log is full."""
        if self.end - self.begin > self._capacity_bytes:
            raise RetryableError(
                f"the log of a fan-out in {self._directory} is full ({self._capacity_bytes} bytes): a branch does not take its "
                "events. Mend it, give the log more room, or take the branch out of the flow",
                retry_after_s=disk.RETRY_AFTER_S,
            )
        self._has_news = True
        try:
            self.end += disk.write_all(self._writable(), staging.frame(batch))
        except OSError as error:
            raise RetryableError(
                f"writing to the log of a fan-out in {self._directory}: {error.strerror or error}",
                retry_after_s=disk.RETRY_AFTER_S,
            ) from error

    def _writable(self) -> int:
        with self._lock:
            last = self._segments[-1] if self._segments else None
            if last is not None and self._fd is not None and self.end - last.start < self._segment_bytes:
                return self._fd
            path = self._directory / f"{self.end:020}.log"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            if self._fd is not None:
                self._unsynced.append(self._fd)
            self._fd = fd
            sync_directory(self._directory)
            self._segments.append(_Segment(self.end, path))
            return self._fd

    def cut(self) -> Callable[[], None]:
        """Everything appended so far; the result makes it durable, on any thread, while appends go on. Whoever finds nothing new
        to commit does not call it: then that is for the next one to do."""
        with self._lock:
            if self._fd is not None and self._has_news:
                self._unsynced.append(os.dup(self._fd))
            self._has_news = False
        return self._sync

    def _sync(self) -> None:
        with disk.explained("syncing the log of a fan-out in", self._directory):
            while self._unsynced:
                fd = self._unsynced.pop()
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)

    def read(self, at: int, end: int) -> Iterator[tuple[Batch, int]]:
        """Batches from `at` on, each with the offset behind it, up to `end` or the end of a segment, whichever is first.
        *Blocking*. Raises CorruptError, RetryableError."""
        with self._lock:
            segment = next((each for each in reversed(self._segments) if each.start <= at), None)
            following = next((each.start for each in self._segments if each.start > at), end)
        if segment is None:
            raise CorruptError(
                f"the log of a fan-out in {self._directory} begins at {self.begin}, and a branch has to go on at {at}: "
                "somebody removed files of it"
            )
        with disk.explained("reading", segment.path):
            reader = staging.Reader(segment.path)
            try:
                reader.seek(at - segment.start)
                for batch in reader.batches(min(end, following) - segment.start):
                    yield batch, segment.start + reader.offset
            finally:
                reader.close()

    def release(self, before: int) -> None:
        """Forget whole segments that every branch has passed. *Blocking*. Raises RetryableError."""
        with disk.explained("removing passed segments in", self._directory):
            while True:
                with self._lock:
                    if len(self._segments) < 2 or self._segments[1].start > before:
                        return
                    passed = self._segments.pop(0)
                passed.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Idempotent; what was not synced is not durable."""
        with self._lock:
            self._close_files()

    def _close_files(self) -> None:
        fds = [*self._unsynced, *([] if self._fd is None else [self._fd])]
        self._unsynced, self._fd, self._has_news = [], None, False
        for fd in fds:
            os.close(fd)
