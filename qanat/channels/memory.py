"""Guarantee: in order, while the agent lives. What waits is in memory: a crash or a restart of the agent loses it, and the
log says how many events that were. The source is told that an event is safe as soon as it waits here.

    web : tail("/var/log/app.log") | memoryChannel(capacity=64MiB, full=drop) | agentBEChain("c1", "c2") ;

Memory is freed once every destination has acknowledged. A full channel makes the source wait, or with `full=drop` drops
what comes and counts it (`events_dropped`). A destination that is not required does not hold the others back: when only it is in
the way, its oldest events are dropped and counted (`events_lost`).
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import ClassVar

import structlog

from qanat.batch import Batch
from qanat.channels import streams
from qanat.channels.backlog import Backlog, room_bytes
from qanat.channels.cursors import Cursors
from qanat.channels.reader import ChannelReader
from qanat.channels.taken import Taken
from qanat.component import Channel, ChannelConfig, Context, Cursor, Fill, Full, Level, Source
from qanat.config import Bytes
from qanat.limits import MIB

log = structlog.get_logger(__name__)


class MemoryChannelConfig(ChannelConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`memoryChannel(capacity=64MiB, events=0, full=block)`"""

    capacity: Bytes = 64 * MIB  # bytes that may wait, some 500 more for each batch


class MemoryChannel(Channel):
    """See the module."""

    name: ClassVar[str] = "memoryChannel"
    Config = MemoryChannelConfig
    keeps: ClassVar[Level] = Level.BE

    def __init__(self, config: MemoryChannelConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._changed = threading.Condition()
        self.stream = streams.stream_name(context.logical_node, secrets.token_hex(6))
        self._taken = Taken()
        self._backlog = Backlog(0)
        self._cursors = Cursors((), 0)
        self._refused: Batch | None = None

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        """Begin with nothing."""
        self._cursors = Cursors(cursors, 0)
        return {}

    def put(self, batch: Batch) -> bool:
        """Take it, refuse it, or drop it; see Channel.put."""
        with self._changed:
            new = self._taken.new_part(batch)
            if new is None:
                return True
            self._refused = None
            if new.count and not self._make_room(new):
                if self._config.full is Full.BLOCK:
                    self._refused = new
                    return False
                self.context.count(streams.DROPPED, new.count)
            elif new.count:
                self._backlog.append(streams.numbered(new, self.stream, self._backlog.end))
                self._changed.notify_all()
            self._taken.advance(new.stream, new.end)
        return True

    def wait_for_room(self, timeout_s: float) -> None:
        """*Blocking* until a reader made room, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._refused is None or self._make_room(self._refused), timeout_s)

    def accepted(self) -> Mapping[str, int]:
        """What was put."""
        return self._taken.moved()

    def forget(self, streams: Sequence[str]) -> None:
        """Their positions."""
        self._taken.forget(streams)

    def next_number(self) -> int:
        """Behind what waits."""
        return self._backlog.end

    def reader(self, cursor: str) -> Source:
        """A view of the backlog."""
        return _Reader(self, cursor)

    def fill(self) -> Fill:
        """What waits."""
        with self._changed:
            return Fill(
                self._backlog.size_bytes, self._backlog.events, self._config.capacity, self._config.events
            )

    def close(self) -> None:
        """What waits is lost."""
        with self._changed:
            if self._backlog.events:
                log.warning(
                    "channel_discarded",
                    node=self.context.logical_node,
                    events=self._backlog.events,
                    why="memoryChannel keeps nothing when it is closed",
                )
            self._backlog = Backlog(self._backlog.end)
            self._refused = None
            self._changed.notify_all()

    def _make_room(self, batch: Batch) -> bool:
        """Whether there is room, if need be at the expense of who is not required. The largest batch fits when nothing waits."""
        while not self._has_room(batch):
            if self._backlog.first().end > self._cursors.expendable():
                return False
            self._backlog.free_first()
        return True

    def _has_room(self, batch: Batch) -> bool:
        backlog, config = self._backlog, self._config
        fits = backlog.size_bytes + room_bytes(batch) <= config.capacity
        return not len(backlog) or (
            fits and (not config.events or backlog.events + batch.count <= config.events)
        )

    def _free(self) -> None:
        if self._backlog.free_before(self._cursors.passed(self._backlog.end)):
            self._changed.notify_all()


class _Reader(ChannelReader):
    """One destination's view."""

    def __init__(self, channel: MemoryChannel, cursor: str) -> None:
        super().__init__(channel.context, channel._changed)
        self._channel = channel
        self._cursor = cursor

    @property
    def stream(self) -> str:
        return self._channel.stream

    def bounds(self) -> tuple[int, int]:
        with self._changed:
            backlog = self._channel._backlog
            return backlog.oldest, backlog.end

    def position(self) -> int:
        return self._channel._cursors[self._cursor]

    def fetch(self, number: int, max_bytes: int) -> Batch:
        """The whole batch that was put, or the oldest one when that is gone by now."""
        with self._changed:
            backlog = self._channel._backlog
            if not len(backlog):
                return streams.gap(self.stream, backlog.end, backlog.end, 0)
            return backlog.covering(max(number, backlog.oldest))

    def move(self, position: int) -> None:
        with self._changed:
            self._channel._cursors.move(self._cursor, position)
            self._channel._free()

    def lost(self, start: int, end: int) -> int:
        return self._channel._cursors.newly_lost(self._cursor, start, end)

    def save(self) -> None:
        """Nothing to save."""

    def lag_bytes(self) -> int:
        """Payload bytes that were not read."""
        with self._changed:
            number = self.position() if self._number is None else self._number
            return self._channel._backlog.bytes_from(number)
