"""What the contract suite of channels needs: making each kind, feeding it, and reading it to its end."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from qanat.batch import Batch, lines_batch
from qanat.clock import ManualClock
from qanat.component import Channel, Context, Cursor, Source, StreamFound

# Longer than any machine needs: a wait costs nothing when what it waits for comes early.
WAIT_S_MAX = 20.0
KIB = 1 << 10
MIB = 1 << 20
# What is read at a time.
READ_BYTES = 64 * KIB


@dataclass(frozen=True, slots=True)
class Kind:
    """One channel, `module:Class`; `options`: what its configuration needs beyond what all have; `keeps`: its events
    survive `close`, None: some do; `server`: the fixture with the server that `options` asks."""

    path: str
    keeps: bool | None
    options: Callable[[Path, Any], dict[str, Any]] = lambda directory, server: {}
    server: str = ""
    available: Callable[[], str | None] = lambda: None  # why it can't be tested here


@dataclass(slots=True)
class Bench:
    """A place for one channel after the other, with one state directory; counts what they count."""

    kind: Kind
    directory: Path
    server: Any = None
    counts: Counter[str] = field(default_factory=Counter)

    def build(self, **options: Any) -> Channel:
        """A channel as a flow would make it: its configuration converted from plain values."""
        self.directory.mkdir(exist_ok=True)
        settings = {"capacity": 64 * MIB, **self.kind.options(self.directory, self.server), **options}
        module, _, name = self.kind.path.partition(":")
        channel = getattr(import_module(module), name)
        context = Context("p", "web", "h", self.directory, ManualClock(), self._count)
        made: Channel = channel(msgspec.convert(settings, channel.Config), context)
        return made

    def _count(self, name: str, number: int) -> None:
        self.counts[name] += number

    @contextlib.contextmanager
    def opened(self, *cursors: str | Cursor, **options: Any) -> Iterator[Feed]:
        """A channel that is open, with the readers of its cursors (default: one, `a`)."""
        channel = self.build(**options)
        named = [Cursor(each) if isinstance(each, str) else each for each in cursors or ("a",)]
        feed = Feed(channel, {})
        try:
            feed.taken = dict(channel.open(named))
            for cursor in named:
                feed.views[cursor.name] = View(channel.reader(cursor.name))
            yield feed
        finally:
            for view in feed.views.values():
                view.source.close()
            channel.close()


@dataclass(slots=True)
class View:
    """A reader and what it has read."""

    source: Source
    stream: str = ""
    batches: list[Batch] = field(default_factory=list)

    def begin(self, at: int | None = None) -> int:
        """Open, find the stream, seek to where it begins or to `at`; gives where it begins."""
        self.source.open()
        self.source.recover({})
        (found,) = self.source.poll(0.0)
        assert isinstance(found, StreamFound)
        self.stream = found.stream
        self.source.seek(found.stream, found.position if at is None else at)
        return found.position

    def read(self) -> list[Batch]:
        """Everything that is there now."""
        new: list[Batch] = []
        while (batch := self.source.read(READ_BYTES)) is not None:
            assert batch.stream == self.stream
            assert batch.start < batch.end
            assert not new or new[-1].end == batch.start, "batches of a stream are contiguous"
            assert batch.count in (0, batch.end - batch.start), "positions of a channel are numbers of events"
            new.append(batch)
        self.batches += new
        return new

    def read_until(self, done: Callable[[View], object]) -> None:
        """*Blocking* until `done`, polling as a delivery does."""
        deadline_s = time.monotonic() + WAIT_S_MAX
        while not done(self):
            assert time.monotonic() < deadline_s, f"waited in vain; read {len(self.events())} events"
            self.source.poll(0.05)
            self.read()

    def read_events(self, count: int) -> list[bytes]:
        """*Blocking* until so many events were read in all; all of them."""
        self.read_until(lambda view: len(view.events()) >= count)
        return self.events()

    def events(self) -> list[bytes]:
        """Bodies in the order they were read."""
        return bodies(self.batches)

    def acknowledge(self, position: int | None = None) -> None:
        """Up to `position`, or all that was read."""
        self.source.acknowledge({self.stream: self.batches[-1].end if position is None else position})


@dataclass(slots=True)
class Feed:
    """The side of a channel that is fed; `taken`: what `open` said."""

    channel: Channel
    views: dict[str, View]
    taken: dict[str, int] = field(default_factory=dict)

    @property
    def view(self) -> View:
        """The first, or only, reader."""
        return next(iter(self.views.values()))

    def put(self, *batches: Batch) -> None:
        """All of them are taken."""
        for batch in batches:
            assert self.channel.put(batch), f"no room for {batch.start}"

    def fill(self, batches: Sequence[Batch]) -> int:
        """Put until one is refused; how many were taken."""
        for number, batch in enumerate(batches):
            if not self.channel.put(batch):
                return number
        raise AssertionError(f"all {len(batches)} batches found room")

    def put_patiently(self, batch: Batch) -> None:
        """*Blocking* until there is room."""
        deadline_s = time.monotonic() + WAIT_S_MAX
        while not self.channel.put(batch):
            assert time.monotonic() < deadline_s, "waited in vain for room"
            self.channel.wait_for_room(0.5)

    def accepted(self, stream: str, position: int) -> None:
        """*Blocking* until the channel says that `stream` is safe up to `position`."""
        deadline_s = time.monotonic() + WAIT_S_MAX
        seen = -1
        while seen < position:
            assert time.monotonic() < deadline_s, f"waited in vain; {stream} is accepted up to {seen}"
            seen = max(seen, self.channel.accepted().get(stream, -1))
            time.sleep(0.001)
        assert seen == position


def lines(number: int, count: int = 4, size: int = 20) -> list[bytes]:
    """Bodies that are all different: those of the batch `number`."""
    return [b"%d/%d" % (number, each) + b"." * (size - 12) for each in range(count)]


def batches(number: int, *, count: int = 4, size: int = 20, stream: str = "s", start: int = 0) -> list[Batch]:
    """Consecutive batches of a text file, from `start`."""
    made = []
    for each in range(number):
        payload = b"".join(body + b"\n" for body in lines(each, count, size))
        made.append(
            lines_batch(stream, start, payload, timestamp_ns=1_000 + each, attributes={"file": stream})
        )
        start = made[-1].end
    return made


def bodies(some: Sequence[Batch]) -> list[bytes]:
    """Bodies of all events, in order; checks that every batch says the truth about itself."""
    found: list[bytes] = []
    for batch in some:
        if isinstance(batch.payload, bytes):
            own = batch.payload.split(b"\n")[:-1]
        else:
            own = batch.payload.column("body").to_pylist()
            numbers = batch.payload.column("position").to_pylist()
            assert numbers == list(range(batch.start, batch.end))
        assert len(own) == batch.count
        found += own
    return found
