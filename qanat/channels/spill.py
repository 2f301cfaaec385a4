"""Guarantee: in order, and across an outage of the collectors: what does not fit in memory waits on disk. A crash of the
agent loses what is in memory (and the log says how many events a stop has left there); what was on disk and readable is
delivered first after a restart. It is not synced: a power cut may lose it.

    web : tail("/var/log/app.log") | spillChannel(memory=64MiB, capacity=10GiB) | agentDFOChain("c1", "c2") ;

Events wait in memory until it is full; from then on new ones go to a write-ahead log, behind those in memory, until that is
nearly drained. What was acknowledged right before a crash may be delivered again from the log: use `fileChannel` where each event
has to be stored exactly once.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar
from urllib.parse import quote

import structlog

from qanat.batch import Batch
from qanat.channels import streams
from qanat.channels.backlog import Backlog, room_bytes
from qanat.channels.cursors import Cursors
from qanat.channels.reader import ChannelReader
from qanat.channels.spans import OnDisk, Spans
from qanat.channels.taken import Taken
from qanat.channels.wal.directory import OsDirectory
from qanat.channels.wal.log import Log
from qanat.channels.wal.settings import Fsync, Settings
from qanat.channels.wal.tape import Tape
from qanat.component import Channel, ChannelConfig, Context, Cursor, Fill, Full, Level, Source, Wrong
from qanat.config import Bytes
from qanat.coordination.filelock import FileLock
from qanat.errors import ConfigError, RetryableError
from qanat.limits import GIB, MIB

log = structlog.get_logger(__name__)

# A process that is being replaced holds the directory so long at most; then somebody else uses it.
LOCK_S_MAX = 10.0
# What a crash makes the next process deliver again; more often would only write more.
SAVE_CURSORS_S = 1.0
# Back to memory when so much of it would hold what is left on disk, and as much is free: not to and fro with each batch.
DRAINED_SHARE = 1 / 4
# Files of the log: large enough that a gigabyte is a few of them, small enough that drained events free their place soon.
SEGMENT_BYTES_MAX = 64 * MIB
SEGMENTS_MIN = 8


class SpillChannelConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`spillChannel(memory=64MiB, capacity=10GiB)`"""

    capacity: Bytes = (
        10 * GIB
    )  # bytes that may wait, in memory and on disk together, some 500 more for each batch
    memory: Bytes = 64 * MIB  # of these in memory; never more than half


class SpillChannel(Channel):
    """See the module."""

    name: ClassVar[str] = "spillChannel"
    Config = SpillChannelConfig
    keeps: ClassVar[Level] = Level.DFO

    def __init__(self, config: SpillChannelConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._memory_bytes = min(config.memory, config.capacity // 2)
        self.changed = threading.Condition()
        self.stream = streams.stream_name(context.logical_node, secrets.token_hex(6))
        self.directory = context.state_dir / f"spill-{quote(context.logical_node, safe=' @:')}"
        self.log = Log(
            OsDirectory(self.directory),
            _settings(config.capacity),
            new_incarnation=lambda: secrets.token_hex(8),
            count=context.count,
            guard=self.changed,
        )
        self.spans = Spans(0)
        self.cursors = Cursors((), 0)
        self._lock: FileLock | None = None
        self._taken = Taken()
        self._refused: Batch | None = None
        self._log_moves: int | None = None  # of the log, when it had no room
        self._save_at_s = 0.0

    @classmethod
    def check(cls, config: SpillChannelConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from super().check(config)
        is_given = config.memory != SpillChannelConfig().memory
        if is_given and config.memory > config.capacity:
            yield Wrong(
                "memory",
                f"{config.memory} bytes are more than the whole capacity, {config.capacity}; memory is a part of that, "
                "half of it at most",
            )

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        """Begin with what an earlier process has left on disk. Raises ConfigError, RetryableError."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"spillChannel can't create {self.directory}: {error.strerror}") from error
        lock = FileLock(self.directory / "lock", wait_s_max=LOCK_S_MAX)
        try:
            lock.__enter__()
            known = self.log.open(cursors)
        except BaseException:
            self.log.close()
            lock.close()
            raise
        self._lock = lock
        self._taken = Taken(known)
        at = {cursor.name: self.log.cursors.position(cursor.name) for cursor in cursors}
        slowest = min(at.values(), default=self.log.durable)
        self.spans = Spans(slowest)
        if left := self.log.durable - slowest:
            self.spans.put_on_disk(left, slowest, self.log.segments.bytes)
            log.info("channel_recovered", node=self.context.logical_node, events=left)
        self.cursors = Cursors(cursors, 0, {name: position - slowest for name, position in at.items()})
        return known

    def put(self, batch: Batch) -> bool:
        """In memory while there is room, else on disk; see Channel.put."""
        new = self._taken.new_part(batch)
        if new is None:
            return True
        self._refused = self._log_moves = None
        if new.count and not self._store(new):
            if self._config.full is Full.BLOCK:
                self._refused = new
                return False
            self.context.count(streams.DROPPED, new.count)
        self._taken.advance(new.stream, new.end)
        return True

    def wait_for_room(self, timeout_s: float) -> None:
        """*Blocking* until a reader made room, or the time is over."""
        self.log.reap()
        with self.changed:
            self.changed.wait_for(self._may_have_room, timeout_s)

    def accepted(self) -> Mapping[str, int]:
        """What was put. Called now and then by whoever feeds the channel: the time to clean up too."""
        if self.context.clock.monotonic_s() >= self._save_at_s:
            self._save_at_s = self.context.clock.monotonic_s() + SAVE_CURSORS_S
            with contextlib.suppress(RetryableError):  # the disk has no room: then the next time
                self.log.reap()
                self.log.cursors.save_all()
        return self._taken.moved()

    def forget(self, streams: Sequence[str]) -> None:
        """Their positions."""
        self._taken.forget(streams)
        self.log.forget(streams)

    def next_number(self) -> int:
        """Behind what waits."""
        return self.spans.end

    def reader(self, cursor: str) -> Source:
        """A view of both parts."""
        return _Reader(self, cursor)

    def fill(self) -> Fill:
        """What waits, in memory and on disk."""
        with self.changed:
            spans = self.spans
            return Fill(
                spans.memory_bytes + spans.disk_bytes,
                spans.end - spans.oldest,
                self._config.capacity,
                self._config.events,
            )

    def close(self) -> None:
        """What is in memory is lost; what is on disk stays."""
        lost = self._lost_at_close()
        if lost:
            log.warning(
                "channel_discarded",
                node=self.context.logical_node,
                events=lost,
                why="spillChannel keeps what is on disk only",
            )
        lock, self._lock = self._lock, None
        if lock is not None:
            self.log.close()
            lock.close()

    def acknowledge(self, cursor: str, position: int) -> None:
        """A reader's cursor moved."""
        with self.changed:
            self.cursors.move(cursor, position)
            self.log.acknowledge(cursor, self.spans.log_position(position))
            if self.spans.free_before(self.cursors.passed(self.spans.end)):
                self.changed.notify_all()

    # Storing.

    def _store(self, new: Batch) -> bool:
        with self.changed:
            if not self._make_room(new):
                return False
            if self._fits_in_memory(new):
                self.spans.put_in_memory(streams.numbered(new, self.stream, self.spans.end))
                self.changed.notify_all()
                return True
        return self._write(new)

    def _write(self, new: Batch) -> bool:
        """Into the log; False when that is full. Raises RetryableError."""
        stored = self.log
        with self.changed:
            if stored.positions.taken.get(new.stream, new.start) < new.start:
                stored.positions.drop(new.stream, new.start)  # what came between is in memory, not in the log
        self._log_moves = stored.moves
        if not stored.put(new):
            return False
        with self.changed:
            self._log_moves = None
            self.spans.put_on_disk(new.count, stored.number - new.count, room_bytes(new))
            self.changed.notify_all()
        return True

    def _fits_in_memory(self, batch: Batch) -> bool:
        spans, size = self.spans, self._memory_bytes
        if spans.oldest == spans.end:
            return True
        used = spans.memory_bytes + room_bytes(batch)
        if spans.is_on_disk:
            return spans.disk_bytes <= size * DRAINED_SHARE and used <= size * (1 - DRAINED_SHARE)
        return used <= size

    # Room; `changed` is held.

    def _may_have_room(self) -> bool:
        if self._refused is None or self._log_moves is not None:
            return self._log_moves != self.log.moves
        return self._make_room(self._refused)

    def _make_room(self, batch: Batch) -> bool:
        """Whether there is room, if need be at the expense of who is not required. The largest batch fits when nothing waits."""
        while not self._has_room(batch):
            step = self.spans.step()
            if step > self.cursors.expendable():
                return False
            self.spans.free_before(step)
            for name in self.cursors.at:
                self.log.acknowledge(name, self.spans.log_passed)
        return True

    def _has_room(self, batch: Batch) -> bool:
        spans, config = self.spans, self._config
        waiting = spans.end - spans.oldest
        used = spans.memory_bytes + spans.disk_bytes
        fits = used + room_bytes(batch) <= config.capacity
        return not waiting or (fits and (not config.events or waiting + batch.count <= config.events))

    def _lost_at_close(self) -> int:
        with self.changed:
            lost = self.spans.memory_events_from(self.cursors.passed(self.spans.end))
            self.spans.drop_memory()
            self._refused = None
            self.changed.notify_all()
            return lost


class _Reader(ChannelReader):
    """One destination's view."""

    def __init__(self, channel: SpillChannel, cursor: str) -> None:
        super().__init__(channel.context, channel.changed)
        self._channel = channel
        self._cursor = cursor
        self._tape = Tape(channel.log, channel.stream, channel.context.clock.wall_ns)

    @property
    def stream(self) -> str:
        return self._channel.stream

    def bounds(self) -> tuple[int, int]:
        with self._changed:
            return self._channel.spans.oldest, self._channel.spans.end

    def position(self) -> int:
        return self._channel.cursors[self._cursor]

    def fetch(self, number: int, max_bytes: int) -> Batch:
        """The whole batch that was put. Raises RetryableError when the disk can't be read."""
        with self._changed:
            spans = self._channel.spans
            number = max(number, spans.oldest)
            if number >= spans.end:
                return streams.gap(self.stream, spans.end, spans.end, 0)
            span = spans.find(number)
            if isinstance(span, Backlog):
                return span.covering(number)
            span = replace(span)  # as it is now
        return self._from_log(span, number)

    def _from_log(self, span: OnDisk, number: int) -> Batch:
        log_number = span.log_number(number)
        try:
            batch = self._tape.fetch(log_number)
        except OSError as error:
            raise RetryableError(
                f"the log in {self._channel.directory} can't be read: {error}; see to its disk"
            ) from error
        if batch.start >= span.log_end:  # nothing is left of the rest of this run
            return streams.gap(self.stream, number, span.end, batch.timestamp_ns)
        if not batch.count:
            return streams.gap(self.stream, number, span.number(batch.end), batch.timestamp_ns)
        if batch.start < log_number:
            batch = streams.cut_before(batch, log_number)
        return streams.numbered(batch, self.stream, span.number(batch.start))

    def move(self, position: int) -> None:
        self._channel.acknowledge(self._cursor, position)

    def lost(self, start: int, end: int) -> int:
        """What damage took is counted where it is found."""
        return self._channel.cursors.newly_lost(self._cursor, start, min(end, self.bounds()[0]))

    def save(self) -> None:
        """Raises RetryableError."""
        self._channel.log.cursors.save(self._cursor)

    def lag_bytes(self) -> int:
        """Bytes that were not read, about."""
        with self._changed:
            return self._channel.spans.bytes_from(self.position() if self._number is None else self._number)

    def close(self) -> None:
        """Release the file."""
        super().close()
        self._tape.close()


def _settings(capacity_bytes: int) -> Settings:
    """The log's own limit is behind ours: it counts whole files, also what of them was delivered."""
    segment = max(1, min(SEGMENT_BYTES_MAX, capacity_bytes // SEGMENTS_MIN))
    return Settings(capacity_bytes + 2 * segment, segment, fsync=Fsync.NEVER)
