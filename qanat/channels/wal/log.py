"""The log: takes batches, makes them durable, knows cursors, deletes what all have passed. See the package for its rules."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Callable, Mapping, Sequence

import structlog

from qanat.batch import Batch
from qanat.channels import streams
from qanat.channels.wal import opening, record, writer
from qanat.channels.wal.cursors import Cursors
from qanat.channels.wal.directory import Directory
from qanat.channels.wal.positions import Positions
from qanat.channels.wal.record import FIXED_BYTES, Head
from qanat.channels.wal.recovery import recover
from qanat.channels.wal.segment import Segment, segment_name
from qanat.channels.wal.segments import Segments
from qanat.channels.wal.settings import Fsync, Settings
from qanat.channels.wal.writer import Writer
from qanat.component import Cursor
from qanat.errors import CorruptError, RetryableError

_log = structlog.get_logger()

# A segment ends when it has so many records, so that recovery and a seek, which go from record to record, take a second at most.
SEGMENT_RECORDS_MAX = 1 << 17


class Log:
    """One log in one directory. It has locks and no threads: `guard` protects what the feeding, the syncing and the reading
    threads share, and is never held while the disk works.

    *Thread*: `open`, `put`, `forget`, `accepted`, `rescue`, `close` belong to the feeding thread; `sync`, `reap` may be called
    by another one; the rest by the readers.
    """

    def __init__(
        self,
        directory: Directory,
        settings: Settings,
        *,
        new_incarnation: Callable[[], str],
        count: Callable[[str, int], None] = lambda name, n: None,
        guard: threading.Condition | None = None,
    ) -> None:
        self.directory = directory
        self.settings = settings
        self.guard = guard or threading.Condition()
        self.incarnation = ""
        self.number = 0  # of the next event
        self.durable = 0
        self.moves = 0  # grows whenever there may be more room
        self.cursors = Cursors(directory)
        self.segments = Segments(directory, count)
        self.positions = Positions({})
        self.is_broken = False  # a sync failed, and `rescue` is due
        self._count = count
        self._new_incarnation = new_incarnation
        self._resume = 0  # the number of the next event when it goes into a new segment
        self._records = 0  # in the last segment
        self._writer: Writer | None = None
        self._unfinished = ""  # a segment whose creation failed
        self._syncing = threading.RLock()

    # -- opening and closing ------------------------------------------------------------------------------------------

    def open(self, named: Sequence[Cursor]) -> Mapping[str, int]:
        """Recover; gives how far each source stream was taken. Raises RetryableError, and CorruptError for a log of
        another version."""
        try:
            return self._open(named)
        except OSError as error:
            raise RetryableError(
                f"the write-ahead log can't be opened: {error}; see to its disk and directory"
            ) from error

    def _open(self, named: Sequence[Cursor]) -> Mapping[str, int]:
        found = recover(self.directory, self.cursors.load())
        self.incarnation = found.incarnation or self._new_incarnation()
        self.number = self.durable = found.number
        self.positions = Positions(found.taken)
        self.segments.restore(found, record.seed_of(self.incarnation))
        self._resume = opening.resume_at(found, self.settings.boot)
        self._writer = opening.repair(self.directory, self.segments, found, resume=self._resume)
        if not self.segments.all:
            self._create(0)
        if self._resume > self.number:
            _log.warning(
                "wal_numbers_skipped", start=self.number, end=self._resume, why="events may be known by them elsewhere"
            )  # fmt: skip
        self.cursors.restore(named, self.incarnation, self.segments.oldest, self.number)
        return dict(self.positions.taken)

    def close(self) -> None:
        """Make everything durable that can be, release everything. Idempotent."""
        current = self._writer
        try:
            if self.segments.all:
                self.sync()
                self.cursors.save_all()
            if current is not None:
                self._end(current)
        except (OSError, RetryableError) as error:
            _log.warning(
                "wal_not_closed_cleanly", error=str(error), consequence="it is recovered when opened"
            )
        finally:
            self._writer = None
            if current is not None:
                current.file.close()

    def _end(self, current: Writer) -> None:
        """What is known and in no record; and that all is synced."""
        current.file.sync()
        positions = self.positions
        if positions.dropped or positions.forgotten or current.boot:
            meta = record.encode_meta(forget=positions.forgotten, taken=positions.dropped, closed=True)
            note = record.encode(
                record.NOTE, meta, b"", self.segments.seed, number=self.number, durable=self.number
            )
            current.append([note])
            current.file.sync()

    # -- putting ------------------------------------------------------------------------------------------------------

    def put(self, batch: Batch) -> bool:
        """See `Channel.put`."""
        if self.is_broken:
            self.rescue()
        untaken = self.positions.untaken(batch)
        if untaken is None:
            return True
        meta = record.encode_meta(batch.stream, batch.attributes, forget=self.positions.forgotten)
        try:
            if self._make_room(FIXED_BYTES + len(meta) + untaken.payload_bytes, untaken.count):
                self._append_or_give_back(untaken, meta)
            elif self.settings.drop:
                self._drop(untaken)
            else:
                return False
        except OSError as error:
            raise RetryableError(
                f"{untaken.payload_bytes} bytes of {batch.stream!r} at {batch.start} can't be written to the log: {error}; "
                "free space on its disk, or wait until the destinations have caught up"
            ) from error
        if self.settings.fsync is Fsync.ALWAYS:
            self._sync_or_rescue()
        return True

    def forget(self, names: Sequence[str]) -> None:
        """See `Channel.forget`."""
        with self.guard:
            self.positions.forget(names)

    def accepted(self) -> Mapping[str, int]:
        """See `Channel.accepted`."""
        with self.guard:
            return self.positions.tell()

    def _drop(self, batch: Batch) -> None:
        self._count(streams.DROPPED, batch.count)
        with self.guard:
            self.positions.drop(batch.stream, batch.end)

    def _append_or_give_back(self, batch: Batch, meta: bytes) -> None:
        """On a full disk also the segment that is open goes, if all cursors have passed it: else a log that fills its disk
        with one segment would wait for ever for room that only it can make."""
        try:
            self._append(batch, meta)
        except OSError as error:
            with self.guard:
                is_passed = self.cursors.slowest >= self.number
            if error.errno != errno.ENOSPC or not is_passed or not self._roll_used():
                raise
            self.reap()
            self._append(batch, meta)

    def _append(self, batch: Batch, meta: bytes) -> None:
        current = self._writer
        if current is None or self._must_roll(current):
            current = self._roll()
        self._remove_unfinished()
        payload = streams.encoded(batch, self.number)
        head = record.encode(
            record.BATCH, meta, payload, self.segments.seed, number=self.number, durable=self.durable,
            form=batch.form, count=batch.count, timestamp_ns=batch.timestamp_ns, start=batch.start, end=batch.end,
        )  # fmt: skip
        current.append([head, payload])
        with self.guard:
            self.segments.grown(current.segment, self.number, len(head) + len(payload), batch.count)
            self.number = self._resume = self.number + batch.count
            self._records += 1
            self.positions.put(batch.stream, batch.end)
            if self.settings.fsync is Fsync.NEVER:
                self._is_durable(current, current.segment.size, self.number)

    def _must_roll(self, current: Writer) -> bool:
        segment = current.segment
        return (
            self._resume > self.number
            or segment.damaged
            or segment.size >= self.settings.segment_bytes + segment.data_at
            or self._records >= SEGMENT_RECORDS_MAX
            or current.boot != self._boot
        )

    def _roll(self) -> Writer:
        """Go on in a new segment. Everything before is durable then, unless syncing is off. Raises OSError."""
        with self._syncing:
            self.sync()
            old = self._writer
            new = self._create(self._resume)
            if old is not None:
                old.file.close()
            return new

    @property
    def _boot(self) -> str:
        """What a head has to say about the boot of the machine."""
        return self.settings.boot if self.settings.fsync is Fsync.NEVER else ""

    def _create(self, first: int) -> Writer:
        skipped = [*self.segments.skipped, *([(self.number, first)] if first > self.number else [])]
        head = Head(self.incarnation, self.number, dict(self.positions.safe), skipped, self._boot)
        new = self._new_file(first, head)
        with self.guard:
            self._writer = new
            self._records = 0
            self.positions.dropped = {}
            self.segments.add(new.segment, skipped)
            self.number = self.durable = self._resume = first
        return new

    def _new_file(self, first: int, head: Head) -> Writer:
        """A new segment. Raises OSError. What a failure leaves on the disk would say, after a power cut, that the present
        segment ends here, so nothing is written to that before it is gone for certain."""
        self._remove_unfinished()
        sequence = self.segments.next_sequence
        self._unfinished = segment_name(sequence, first)
        try:
            new = writer.create(self.directory, sequence, first, head)
        except OSError:
            with contextlib.suppress(OSError):
                self._remove_unfinished()
            raise
        self._unfinished = ""
        return new

    def _remove_unfinished(self) -> None:
        if self._unfinished:
            with contextlib.suppress(FileNotFoundError):
                self.directory.remove(self._unfinished)
            self.directory.sync()
            self._unfinished = ""

    # -- room ---------------------------------------------------------------------------------------------------------

    def _make_room(self, record_bytes: int, count: int) -> bool:
        """Whether so much finds room; whole segments go for it that no cursor needs, or none that is required."""
        while not self._fits(record_bytes, count):
            with self.guard:
                floor = self.cursors.floor
            if self.segments.all[0].last > floor:
                return False
            if len(self.segments.all) == 1 and not self._roll_used():
                return True  # nothing waits: a batch larger than the whole log is not stuck for ever
            self._remove_oldest(floor)
        return True

    def _fits(self, record_bytes: int, count: int) -> bool:
        if self.segments.bytes + record_bytes > self.settings.capacity_bytes:
            return False
        if not self.settings.events:
            return True
        with self.guard:
            waiting = self.segments.events_from(self.cursors.slowest)
        return waiting + count <= self.settings.events

    def _roll_used(self) -> bool:
        """Make the last segment one that can be removed; False when there is nothing in it. Raises OSError."""
        segment = self.segments.all[-1]
        if segment.size > segment.data_at:
            self._roll()
        return segment.size > segment.data_at

    @property
    def can_reap(self) -> bool:
        """Whether `reap` would find something."""
        with self.guard:
            return len(self.segments.all) > 1 and self.segments.all[0].last <= self.cursors.slowest

    def reap(self) -> None:
        """Delete segments that all cursors have passed. *Blocking*."""
        while self.can_reap:
            with self.guard:
                slowest = self.cursors.slowest
            self._remove_oldest(slowest)

    def _remove_oldest(self, floor: int) -> None:
        """If all its events are before `floor`. A cursor that was still in it, or before it, has lost the rest of it: that is
        counted when it asks for it."""
        with self.guard:
            if len(self.segments.all) < 2 or self.segments.all[0].last > floor:
                return
            segment = self.segments.drop_oldest()
        self.segments.remove(segment)
        self._notify()

    def _notify(self) -> None:
        with self.guard:
            self.moves += 1
            self.guard.notify_all()

    # -- syncing ------------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Make durable, and so visible, what was put. *Blocking*. Raises OSError: `rescue` is due then."""
        with self._syncing:
            if (
                self.is_broken
            ):  # the kernel would say that all is well: it has forgotten what it could not write
                raise OSError(errno.EIO, "an earlier sync failed")
            with self.guard:
                current = self._writer
                size = current.segment.size if current is not None else 0
                number = self.number
                cut = self.positions.cut()
            try:
                if current is not None and current.synced < size and self.settings.fsync is not Fsync.NEVER:
                    current.file.sync()
            except OSError:
                with self.guard:
                    self.positions.not_synced(cut)
                    self.is_broken = True
                raise
            with self.guard:
                if current is not None and current.synced < size:
                    self._is_durable(current, size, number)
                self.positions.synced(cut)

    def _sync_or_rescue(self) -> None:
        """What was put stays put: when neither works it is not accepted, and the next put is refused."""
        try:
            self.sync()
        except OSError:
            with contextlib.suppress(RetryableError):
                self.rescue()

    def _is_durable(self, current: Writer, size: int, number: int) -> None:
        """The guard is held."""
        current.synced = size
        self.durable = number
        self._notify()

    def rescue(self) -> None:
        """After a failed sync, which the kernel forgets while it keeps the data in memory: write what is not durable once
        more, into a new segment. Raises RetryableError, and CorruptError when it is not in memory any more."""
        with self._syncing:
            old = self._writer
            if old is None or not self.is_broken:
                return
            try:
                new = self._copy(old)
            except OSError as error:
                raise RetryableError(
                    f"the log's disk failed to sync, and a new segment can't be written: {error}; see to the disk"
                ) from error
            new.segment.last = self.number
            rescued = self.number - self.durable
            with self.guard:
                self.segments.replace_end(old.segment, old.synced, self.durable, new.segment)
                self._writer = new
                self.is_broken = False
                self._is_durable(
                    new, new.segment.size, self.number
                )  # a new segment is synced with what it begins with
            with contextlib.suppress(OSError):  # the next segment says where this one ends
                old.file.truncate(old.synced)
            old.file.close()
            _log.warning("wal_rescued", segment=new.segment.name, events=rescued)
            self.sync()

    def _copy(self, old: Writer) -> Writer:
        """A new segment with what `old` has and the disk perhaps not. Raises OSError."""
        head = Head(
            self.incarnation, self.durable, dict(self.positions.safe), self.segments.skipped, old.boot
        )
        tail = old.file.read(old.synced, old.segment.size - old.synced)
        if not self.segments.is_sound(old.file, old.synced, old.segment.size):
            raise CorruptError(
                f"{len(tail)} bytes of {old.segment.name} could not be synced and are lost; start again, so that the sources "
                "send them again"
            )
        new = self._new_file(
            self.durable, head
        )  # its head is durable before there is a record in it, as everywhere
        try:
            new.append([tail])
            new.segment.size += len(tail)
            new.file.sync()
        except OSError:
            new.file.close()
            self._unfinished = new.segment.name
            raise
        new.synced = new.segment.size
        return new

    # -- reading ------------------------------------------------------------------------------------------------------

    def extent(self, segment: Segment) -> tuple[int, Segment | None]:
        """How many bytes of a segment may be read, and which one follows."""
        with self.guard:
            current = self._writer
            is_last = current is not None and current.segment is segment
            limit = current.synced if current is not None and is_last else segment.size
            return limit, self.segments.following(segment)

    def set_aside(self, segment: Segment, limit: int) -> None:
        """A reader found damage in it. *Blocking*: looks at all of it once."""
        with self.guard:
            if segment.is_counted or segment not in self.segments.all:
                return
            segment.is_counted = True
            last = min(segment.last, self.durable)
        good = self.segments.good_events(segment, limit)
        self.segments.set_aside(segment, max(0, last - segment.first - good))

    def acknowledge(self, cursor: str, position: int) -> None:
        """Move a cursor forward; what is behind all of them can be reaped."""
        with self.guard:
            self.cursors.move(cursor, min(position, self.durable))
        self._notify()
