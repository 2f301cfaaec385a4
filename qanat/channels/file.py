"""`fileChannel(...)`: a write-ahead log on disk between a source and its destinations.

Guarantee: what was accepted is on disk, synced, and survives a crash of the process and of the machine; events come out in the
order in which they went in, each exactly once for every destination, and a source goes on exactly where the log ends. A full
disk holds the source back; damage to files is found by checksums and counted, and the rest is delivered.

    sys : syslogTcp(5140) | fileChannel(capacity=10GiB) | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec
import structlog

from qanat import limits
from qanat.batch import Batch
from qanat.channels.wal.directory import OsDirectory
from qanat.channels.wal.log import Log
from qanat.channels.wal.reader import LogReader
from qanat.channels.wal.settings import Fsync, Settings
from qanat.component import Channel, ChannelConfig, Context, Cursor, Fill, Full, Source, Wrong
from qanat.config import Bytes, Seconds
from qanat.coordination.filelock import FileLock
from qanat.errors import ConfigError, QanatError, RetryableError

_log = structlog.get_logger()

# A process that just ended, or is being replaced, still holds the log's lock for so long at most; then somebody else uses it.
LOCK_S_MAX = 10.0
# What a crash of the process makes collectors answer again; more often would only write more.
SAVE_CURSORS_S = 1.0
# After a failure of the disk: soon enough for who waits, rare enough for the log.
RETRY_S = 1.0
# A channel below this would be segments of a record each.
SEGMENTS_MIN = 8
# What is asked for by hand: a file costs an fsync of itself and one of the directory, worth some dozen small batches.
SEGMENT_BYTES_MIN = 64 * limits.KIB

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class FileChannelConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `fileChannel(...)` accepts."""

    capacity: Bytes = 10 * limits.GIB  # on disk; the last segment may grow a little beyond it
    path: str = ""  # a directory on the disk to use; the default is in the state directory
    fsync: Literal["commit", "always", "never"] = (
        "commit"  # synced together each sync_interval; at each put; or when the system likes to
    )
    sync_interval: Seconds = 0.01
    # A fiftieth of a second of a fast disk, so that drained events free their place soon; and a cursor that reads hours
    # behind opens few files.
    segment: Bytes = 64 * limits.MIB


class FileChannel(Channel):
    """A log, its directory and its lock, and the thread that syncs."""

    name: ClassVar[str] = "fileChannel"
    Config: ClassVar[type[msgspec.Struct]] = FileChannelConfig

    def __init__(self, config: FileChannelConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        base = Path(config.path) if config.path else context.state_dir
        self.directory = base / f"wal-{quote(context.logical_node, safe=' @:')}"
        self.changed = threading.Condition()
        self.log = Log(
            OsDirectory(self.directory),
            _settings(config),
            new_incarnation=lambda: secrets.token_hex(8),
            count=context.count,
            guard=self.changed,
        )
        self._lock: FileLock | None = None
        self._thread: threading.Thread | None = None
        self._work = threading.Event()
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._moves = 0

    @classmethod
    def check(cls, config: FileChannelConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from super().check(config)
        if config.segment < SEGMENT_BYTES_MIN:
            yield Wrong(
                "segment",
                f"{config.segment} bytes would be a file for each batch; give it {SEGMENT_BYTES_MIN >> 10}KiB at least, or "
                "leave it out",
            )
        if config.path and not os.path.isabs(config.path):
            yield Wrong(
                "path",
                f"{config.path!r} depends on where the agent is started; write it from the root, as /var/lib/x",
            )

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        """Lock and recover the log. Raises ConfigError, RetryableError."""
        if faults := _faults(self._config):
            raise ConfigError(*faults)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"fileChannel can't create its directory {self.directory}: {error.strerror}; see what is at "
                "that path, and whose it is"
            ) from error
        lock = FileLock(self.directory / "lock", wait_s_max=LOCK_S_MAX)
        try:
            lock.__enter__()
            taken = self.log.open(cursors)
        except BaseException:
            self.log.close()
            lock.close()
            raise
        self._lock = lock
        self._stop.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._maintain, name="wal", daemon=False)
        self._thread.start()
        return taken

    def put(self, batch: Batch) -> bool:
        """See Channel.put."""
        self._check()
        self._moves = self.log.moves
        taken = self.log.put(batch)
        self._work.set()
        return taken

    def wait_for_room(self, timeout_s: float) -> None:
        """See Channel.wait_for_room: until something was deleted, acknowledged or synced since the last put began."""
        with self.changed:
            self.changed.wait_for(
                lambda: self.log.moves != self._moves or self._failure is not None, timeout_s
            )
            self._moves = self.log.moves
        self._check()

    def accepted(self) -> Mapping[str, int]:
        """See Channel.accepted."""
        self._check()
        if self.log.is_broken:
            with contextlib.suppress(RetryableError):
                self.log.rescue()
        return self.log.accepted()

    def forget(self, streams: Sequence[str]) -> None:
        """See Channel.forget."""
        self.log.forget(streams)

    def next_number(self) -> int:
        """Behind what was put, synced or not."""
        return self.log.number

    def reader(self, cursor: str) -> Source:
        """See Channel.reader."""
        return LogReader(self.log, cursor, self.context, on_move=self._work.set)

    def fill(self) -> Fill:
        """What its files take, and the events that some destination has not acknowledged."""
        with self.changed:
            log = self.log
            return Fill(
                log.segments.bytes,
                log.segments.events_from(log.cursors.slowest),
                self._config.capacity,
                self._config.events,
            )

    def close(self) -> None:
        """Sync, save, unlock. Idempotent."""
        thread, self._thread = self._thread, None
        self._stop.set()
        self._work.set()
        if thread is not None:
            thread.join()
        self.log.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    # The thread that syncs, deletes what was passed, and saves cursors.

    def _maintain(self) -> None:
        try:
            save_at_s = sync_at_s = 0.0
            while not self._stop.is_set():
                self._work.wait(SAVE_CURSORS_S)
                self._work.clear()
                if self.log.positions.has_moved:
                    self._stop.wait(max(0.0, sync_at_s - time.monotonic()))
                    sync_at_s = time.monotonic() + self._config.sync_interval
                    self._sync()
                self.log.reap()
                if time.monotonic() >= save_at_s:
                    self._save_cursors()
                    save_at_s = time.monotonic() + SAVE_CURSORS_S
        except BaseException as error:  # noqa: BLE001 - the root of a thread: told to whoever calls next
            with self.changed:
                self._failure = error
                self.changed.notify_all()

    def _sync(self) -> None:
        try:
            self.log.sync()
        except OSError as error:
            _log.error(
                "wal_not_synced", directory=str(self.directory), error=str(error), consequence="written again"
            )
            self._stop.wait(RETRY_S)

    def _save_cursors(self) -> None:
        try:
            self.log.cursors.save_all()
        except RetryableError as error:
            _log.warning(
                "wal_cursor_not_saved", error=str(error), consequence="collectors tell it after a crash"
            )

    def _check(self) -> None:
        if self._failure is not None:
            raise QanatError(
                f"the log in {self.directory} is not maintained any more: {self._failure!r}"
            ) from self._failure


def _settings(config: FileChannelConfig) -> Settings:
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = secrets.token_hex(8)  # as if the machine had been started anew
    return Settings(
        capacity_bytes=config.capacity,
        segment_bytes=max(1, min(config.segment, config.capacity // SEGMENTS_MIN)),
        events=config.events,
        drop=config.full is Full.DROP,
        fsync=Fsync(config.fsync),
        boot=boot,
    )


def _faults(config: FileChannelConfig) -> list[str]:
    """What would not work at all, of a channel that nobody has checked."""
    faults = []
    if config.segment < 1:
        faults.append("fileChannel(segment=...) must be more than 0.")
    if config.path and not os.path.isabs(config.path):
        faults.append(f"fileChannel(path={config.path!r}) must be an absolute path.")
    return faults
