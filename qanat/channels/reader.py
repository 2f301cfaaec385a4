"""A channel's stream, read for one destination: all of a `Source` but where the events are kept."""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from qanat.batch import Batch
from qanat.channels import streams
from qanat.component import Context, Source, StreamEvent, StreamFinished, StreamFound
from qanat.errors import PermanentError


class ReaderConfig(msgspec.Struct, frozen=True):
    """A reader is told nothing: flows name its channel."""


class ChannelReader(Source):
    """One destination's view of a channel. What a channel adds is in the abstract methods.

    `changed`: the channel's condition; it notifies it when there is more to read, and the reader when it is woken.
    """

    name: ClassVar[str] = "channel"
    Config: ClassVar[type[msgspec.Struct]] = ReaderConfig

    def __init__(self, context: Context, changed: threading.Condition) -> None:
        super().__init__(ReaderConfig(), context)
        self._changed = changed
        self._number: int | None = None  # of the next event to read; None: not sought yet
        self._news: list[StreamEvent] = []
        self._is_found = False
        self._woken = False

    # -- what a channel provides; all are called by the reader's thread, without holding `changed` unless it says so ----

    @property
    @abc.abstractmethod
    def stream(self) -> str:
        """The channel's stream."""

    @abc.abstractmethod
    def bounds(self) -> tuple[int, int]:
        """Numbers `[oldest, end)` of what may be read now. Cheap; also called while `changed` is held."""

    @abc.abstractmethod
    def position(self) -> int:
        """Where the cursor is."""

    @abc.abstractmethod
    def fetch(self, number: int, max_bytes: int) -> Batch:
        """A batch of the channel's stream that covers `number`, which is within the bounds, or begins behind it
        when that event is gone."""

    @abc.abstractmethod
    def move(self, position: int) -> None:
        """The cursor was acknowledged up to `position`, which is beyond its present one."""

    def lost(self, start: int, end: int) -> int:
        """How many events of a gap have to be counted as lost: fewer where numbers were never given, or counted before."""
        return end - start

    # -- Source -------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin again at the cursor."""
        self._number = None
        self._is_found = False
        self._news = []

    def recover(self, known: Mapping[str, int]) -> None:
        """Report the stream once, and with it what earlier incarnations left downstream: that is over."""
        end = self.bounds()[1]
        if known.get(self.stream, 0) > end:
            raise PermanentError(
                f"collectors have events of {self.stream!r} up to {known[self.stream]}, the channel in "
                f"{self.context.state_dir} ends at {end}: it is an older copy, or its disk lost what it said was synced. "
                "New events would get numbers that are taken: stop the node, export what is needed, and move the channel "
                "away, so that a new one begins."
            )
        if not self._is_found:
            self._is_found = True
            self._news.append(StreamFound(self.stream, self.position()))
        for name, position in streams.earlier_streams(known, self.stream).items():
            self._news += [StreamFound(name, position), StreamFinished(name, position)]

    def knows_its_streams(self) -> bool:
        """The one, from the log: how much of it waits is known before any collector answers."""
        return True

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """News; see Source.poll."""
        deadline_s = time.monotonic() + timeout_s  # real time, also under a manual clock: this really waits
        with self._changed:
            while not (self._woken or self._news or self._has_data()):
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
            self._woken = False
            news, self._news = self._news, []
        return news

    def seek(self, stream: str, position: int) -> None:
        """Read from `position` next; a stream that is over has nothing to read."""
        if stream == self.stream:
            self._number = position

    def read(self, max_bytes: int) -> Batch | None:
        """The next events, or a batch without any over those that are gone."""
        number = self._number
        oldest, end = self.bounds()
        if number is None or number >= end:
            return None
        if number < oldest:
            return self._pass(number, oldest)
        batch = self.fetch(number, max_bytes)
        if batch.start > number:
            return self._pass(number, batch.start)
        batch = streams.cut_before(batch, number)
        self._number = batch.end
        return batch

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Move the cursor; it never goes back, nor beyond what there is."""
        position = min(positions.get(self.stream, 0), self.bounds()[1])
        if position > self.position():
            self.move(position)

    def wake(self) -> None:
        """End a waiting `poll`. *Thread*: any."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing can be read before the next `open`."""
        self._number = None

    @property
    def has_data(self) -> bool:
        """A `read` would give something, if only a gap."""
        return self._has_data()

    def _has_data(self) -> bool:
        return self._number is not None and self._number < self.bounds()[1]

    def _pass(self, number: int, end: int) -> Batch:
        lost = self.lost(number, end)
        if lost:
            self.context.count(streams.LOST, lost)
        self._number = end
        return streams.gap(self.stream, number, end, self.context.clock.wall_ns())
