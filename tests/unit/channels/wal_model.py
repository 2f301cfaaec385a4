"""A log with sources that feed it and destinations that read it, on a disk whose power can be cut; and what must be true."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from qanat.batch import lines_batch
from qanat.channels.wal.log import Log
from qanat.channels.wal.reader import LogReader
from qanat.channels.wal.settings import Fsync, Settings
from qanat.clock import ManualClock
from qanat.component import Context, Cursor, StreamFound
from qanat.errors import RetryableError
from qanat.testing.directory import MemoryDirectory

# Small, so that a few batches fill a segment and a few segments the log.
SEGMENT_BYTES = 2_000
CAPACITY = 40_000


def event(stream: str, number: int) -> bytes:
    """All different, and of the same length."""
    return f"{stream}-{number:06d}-{number * 7919 % 1000:03d}\n".encode()


@dataclass(slots=True)
class Origin:
    """A replayable source stream. `accepted`: what the log said is safe; it will not be read again."""

    name: str
    position: int = 0
    accepted: int = 0

    @property
    def event_bytes(self) -> int:
        """Of each event."""
        return len(event(self.name, 0))


@dataclass(slots=True)
class Destination:
    """What a collector has stored: it survives what happens to the log, and says where to go on."""

    name: str
    reader: LogReader | None = None
    stream: str = ""
    position: int = 0
    events: list[bytes] = field(default_factory=list)
    missed: int = 0  # positions of which it got no events


@dataclass
class Model:
    """`counts`: what the log counted, over all its lives."""

    fsync: Fsync = Fsync.COMMIT
    boot: int = 0
    directory: MemoryDirectory = field(default_factory=MemoryDirectory)
    counts: Counter[str] = field(default_factory=Counter)
    origins: list[Origin] = field(default_factory=lambda: [Origin("s"), Origin("other")])
    destinations: list[Destination] = field(default_factory=lambda: [Destination("a"), Destination("b")])

    def __post_init__(self) -> None:
        self.incarnations = 0
        self.open()

    def open(self) -> None:
        """A process begins: the log is recovered, sources and destinations go on where they have to."""
        settings = Settings(CAPACITY, SEGMENT_BYTES, fsync=self.fsync, boot=str(self.boot))
        self.log = Log(self.directory, settings, new_incarnation=self._incarnation, count=self._count)
        taken = self.log.open([Cursor(each.name) for each in self.destinations])
        for origin in self.origins:
            origin.position = taken.get(origin.name, 0)
            assert origin.position >= origin.accepted, "what was accepted is asked for again"
            assert origin.position % origin.event_bytes == 0
        for destination in self.destinations:
            self._connect(destination)

    def _connect(self, destination: Destination) -> None:
        context = Context("p", "web", "h", Path(), ManualClock(), self._count)
        reader = destination.reader = LogReader(self.log, destination.name, context)
        reader.open()
        reader.recover({destination.stream: destination.position} if destination.stream else {})
        (found,) = reader.poll(0.0)
        assert isinstance(found, StreamFound)
        assert destination.stream in ("", found.stream), "the log is another one"
        ahead = max(0, self.log.segments.given(destination.position, found.position))
        assert not ahead, "a cursor is ahead of its destination, by more than numbers that were never given"
        destination.stream = found.stream
        reader.seek(found.stream, destination.position)

    def _incarnation(self) -> str:
        self.incarnations += 1
        return f"incarnation{self.incarnations}"

    def _count(self, name: str, number: int) -> None:
        self.counts[name] += number

    # What may happen.

    def put(self, origin: Origin, events: int) -> bool:
        """The next events of a source; whether they were taken."""
        first = origin.position // origin.event_bytes
        payload = b"".join(event(origin.name, first + each) for each in range(events))
        batch = lines_batch(origin.name, origin.position, payload, timestamp_ns=1, attributes={"host": "h"})
        with contextlib.suppress(RetryableError):
            if self.log.put(batch):
                origin.position = batch.end
                return True
        return False

    def sync(self) -> None:
        """Group commit; the sources hear of it."""
        with contextlib.suppress(OSError):
            self.log.sync()
        self.told()

    def told(self) -> None:
        """What the log accepts."""
        for name, position in self.log.accepted().items():
            origin = next(each for each in self.origins if each.name == name)
            assert origin.accepted <= position <= origin.position
            origin.accepted = position

    def read(self, destination: Destination, batches: int) -> None:
        """A destination stores some batches."""
        assert destination.reader is not None
        for _ in range(batches):
            batch = destination.reader.read(1)
            if batch is None:
                return
            assert batch.start == destination.position
            assert isinstance(batch.payload, bytes)
            destination.events += batch.payload.splitlines(keepends=True)
            destination.missed += (batch.end - batch.start) if not batch.count else 0
            destination.position = batch.end

    def acknowledge(self, destination: Destination, *, save: bool) -> None:
        """What it has is acknowledged."""
        assert destination.reader is not None
        destination.reader.acknowledge({destination.stream: destination.position})
        if save:
            with contextlib.suppress(RetryableError):
                destination.reader.save()

    def reap(self) -> None:
        """Segments that all have passed are deleted."""
        self.log.reap()

    def end(self) -> None:
        """The process ends as it should, and the next one begins."""
        self.log.close()
        self.open()

    def kill(self) -> None:
        """The process dies: what it has written is in the page cache."""
        self.open()

    def cut_power(self, seed: int) -> None:
        """The machine dies."""
        self.directory.cut_power(Random(seed))
        self.boot += 1
        self.open()

    # What must be true.

    def check_order(self) -> None:
        """Whatever a destination has: of every stream each event once, in order, from the first on."""
        for destination in self.destinations:
            for origin in self.origins:
                own = [each for each in destination.events if each.startswith(f"{origin.name}-".encode())]
                assert own == [event(origin.name, number) for number in range(len(own))]

    def check_complete(self) -> None:
        """When all is calm: every destination has all that the sources had."""
        self.directory.capacity = None
        self.directory.failing.clear()
        for destination in self.destinations:
            self.read(destination, 1_000)
            self.acknowledge(destination, save=True)
        for origin in self.origins:
            assert self.put(origin, 3)
        self.sync()
        for destination in self.destinations:
            self.read(destination, 1_000)
            assert destination.position == self.log.number
        self.check_order()
        total = sum(origin.position // origin.event_bytes for origin in self.origins)
        assert [len(each.events) for each in self.destinations] == [total] * len(self.destinations)
        assert [origin.accepted for origin in self.origins] == [origin.position for origin in self.origins]


def payloads(destinations: Sequence[Destination]) -> list[bytes]:
    """All that they have, joined."""
    return [b"".join(each.events) for each in destinations]
