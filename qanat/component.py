"""What sources and sinks are: the contracts that a plug-in implements. Decorators are in `decorator.py`.

Both are synchronous and confined to threads that their owner provides, so that a test drives them directly and a vendor
SDK that blocks is welcome. Batches cross threads, events do not.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from qanat.batch import Batch, Payload
from qanat.capacity import ChannelConfig as ChannelConfig
from qanat.capacity import Cursor as Cursor
from qanat.capacity import Fill as Fill
from qanat.capacity import Full as Full
from qanat.clock import Clock, SystemClock
from qanat.news import StreamEvent as StreamEvent
from qanat.news import StreamFinished as StreamFinished
from qanat.news import StreamFound as StreamFound
from qanat.throttle import Throttles

if TYPE_CHECKING:
    from qanat.flow.model import Call, SinkExpression


@dataclass(frozen=True, slots=True)
class Context:
    """What a component is given by the program that builds it.

    `state_dir`: a private, durable directory of this component on this host; created by the owner.
    `count(name, n)`: add to a counter (`events_truncated`, ...); cheap, any thread.
    `throttles`: of the process, by the id that `choke` is given. `metrics()`: the page of the process's metrics; any thread.
    """

    physical_node: str
    logical_node: str
    host: str
    state_dir: Path
    clock: Clock = field(default_factory=SystemClock)
    count: Callable[[str, int], None] = lambda name, n: None
    throttles: Throttles = field(default_factory=Throttles)
    metrics: Callable[[], bytes] = lambda: b""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with one argument of a component, as a sentence that begins in the middle. `argument`: as the flow writes it.

    `conceals`: the argument has something secret in it, so its line is not shown."""

    argument: str
    why: str
    conceals: bool = False


class Component(abc.ABC):
    """A named part of a flow, with a typed configuration (a `msgspec.Struct`; field order is positional order)."""

    name: ClassVar[str]
    Config: ClassVar[type[msgspec.Struct]]

    def __init__(self, config: Any, context: Context) -> None:
        self.context = context

    @classmethod
    def check(cls, config: Any) -> Iterable[Wrong]:
        """Everything that is wrong with a `config` whose types are right, as far as it tells by itself: it may be of another
        host, and files and variables that it names need not be here. People are told of all of it at its place in the flow,
        before anything is stored or started; what only the host knows, `open` finds."""
        return ()


class Level(enum.IntEnum):
    """What is promised of an event; the larger promises more."""

    BE = 1  # best effort: sent once; what can't be sent soon is dropped and counted
    DFO = 2  # disk on failure: survives that no collector can be reached
    E2E = 3  # end to end: in committed storage, exactly once and in order, whatever crashes


class AgentSink(Component):
    """Where an agent's logical node delivers to: a chain of collectors, preferred first."""

    level: ClassVar[Level] = Level.E2E

    @classmethod
    def general_form(cls, call: Call) -> SinkExpression:
        """What `call`, a component of this type, stands for: itself, or a failover of single sinks. Raises ConfigError."""
        return call

    @abc.abstractmethod
    def destinations(self) -> tuple[str, ...]:
        """`host:port` of each collector. Raises ConfigError when they are not known."""


class CollectorSource(Component):
    """Where a collector's logical node listens."""

    @abc.abstractmethod
    def address(self) -> str:
        """`host:port` to listen on. Raises ConfigError when it is not known."""


class Source(Component):
    """A replayable source: streams that can be read again from any position not yet acknowledged.

    *Thread*: all methods but `wake` are called by one thread, never at the same time.
    Life: `open`, `recover`, then any of `poll`, `seek`, `read`, `acknowledge`, `save`, then `close`.

    `consumes`: what is acknowledged is gone for another instance of it as well, as of a file that is deleted. Then several
    destinations share one channel, instead of having an instance each.
    """

    consumes: ClassVar[bool] = False

    @abc.abstractmethod
    def open(self) -> None:
        """Load state, take locks. Raises ConfigError when the configuration can't work on this host."""

    @abc.abstractmethod
    def recover(self, known: Mapping[str, int]) -> None:
        """Told on every connection which streams of this sender are known downstream, with their committed positions.

        A source that lost its own state recognises its streams by it; otherwise it is ignored.
        """

    def knows_its_streams(self) -> bool:
        """It needs no `recover`, and may be polled before: so it sees what comes and goes while no collector answers."""
        return False

    @abc.abstractmethod
    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """What is new since the last poll. *Blocking*: up to `timeout_s`, while there is neither news nor data to
        read; returns at once when there is either, and when `wake` is called."""

    @abc.abstractmethod
    def seek(self, stream: str, position: int) -> None:
        """Read `stream` from `position` next. A stream is readable only after its first seek."""

    @abc.abstractmethod
    def read(self, max_bytes: int) -> Batch | None:
        """The next batch of some readable stream, fair between streams; None when no stream has data now.

        At most about `max_bytes` of payload, one event at least. Batches of a stream are contiguous."""

    @abc.abstractmethod
    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Everything before these positions is in storage, and will never be asked for again."""

    @abc.abstractmethod
    def save(self) -> None:
        """Make durable what was acknowledged and forgotten. *Blocking*. Raises RetryableError when it can't.

        Only after it does a collector forget the positions of finished streams: a source that came back with older
        ones would send events again."""

    @abc.abstractmethod
    def wake(self) -> None:
        """End a `poll` that is waiting. *Thread*: any."""

    @abc.abstractmethod
    def lag_bytes(self) -> int:
        """Bytes that exist and were not read yet, as far as known."""

    @abc.abstractmethod
    def close(self) -> None:
        """Save state, release everything. May be called at any time after the constructor; idempotent."""

    def is_held_back(self) -> bool:
        """Whether the last `read` gave nothing although there may be something: a rate is limited. *Thread*: any."""
        return False

    def is_over(self) -> bool:
        """Whether everything was read, and nothing will ever come any more: of a source that has an end."""
        return False


@dataclass(frozen=True, slots=True)
class Parcel:
    """What a live source received at once, from one peer, in whole events: a run of lines, a request, some datagrams.

    `content`: what the source's `form` understands; else LINES bytes, or a record batch as in `columns` without `position`.
    `size_bytes`: what it takes; at most `limits.BATCH_BYTES_MAX`.
    `settled`: called once, on the feed's thread. True: all of it is safe in the channel, the peer may be told. False: it is
    not, and won't be, as the node stops: the peer has to repeat it.
    `stream`: where the peer numbers its events, a stream of its own (`LiveSource.recover`); `start`: the number of the first.
    Then `content` is `Events`, parcels of a stream are in order, and what the channel has is not taken again; None: it ends.
    """

    content: Any
    size_bytes: int
    settled: Callable[[bool], None] | None = None
    stream: str = ""
    start: int = 0


@dataclass(frozen=True, slots=True)
class Events:
    """A batch that has no place in a stream yet. A record batch needs no column `position`."""

    payload: Payload
    count: int
    attributes: Mapping[str, str]


class Inlet(abc.ABC):
    """Where a live source puts what it receives: a queue with a limit in bytes, in order. *Thread*: any."""

    @abc.abstractmethod
    def offer(self, parcel: Parcel) -> bool:
        """Take it; False when there is no room now, and nothing was taken: make the peer wait, or refuse."""

    @abc.abstractmethod
    def put(self, parcel: Parcel, timeout_s: float) -> bool:
        """As `offer`; *blocking* until there is room, or the time is over."""

    @abc.abstractmethod
    def when_room(self, call: Callable[[], None]) -> None:
        """`call` once, from any thread, as soon as there is room; it must not block."""

    @abc.abstractmethod
    def withdraw(self, parcel: Parcel) -> bool:
        """Take back what was put, unless the feed has it already (False): its `settled` is not called any more."""

    @abc.abstractmethod
    def fail(self, error: BaseException) -> None:
        """The source can't go on, which ends its node with this error; bad data never is a reason for it."""


class LiveSource(Component):
    """A source whose events are pushed to it and can't be read again: it needs a channel, in which they are numbered.

    *Guarantee*: what `settled(True)` was said of is kept as the channel keeps things. What never was is the peer's to repeat,
    so a peer that repeats may store an event twice when the agent dies between the channel's taking and the answer.

    *Thread*: all methods are called by one thread, never at the same time; the source receives on threads of its own.
    Life: `open`, `start`, then `form` any number of times, `stop`, `form` again for what is left, `close`.
    """

    @abc.abstractmethod
    def open(self) -> None:
        """Take the addresses to listen on, check what can be checked; nobody is answered yet. Raises ConfigError when the
        configuration can't work on this host."""

    def recover(self, known: Mapping[str, int]) -> Iterable[str]:
        """Told before `start` how far the channel has each stream whose peer numbers its events; gives those that may go on."""
        return ()

    @abc.abstractmethod
    def start(self, inlet: Inlet) -> None:
        """Begin to receive. Must not block."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Receive no more. What was received is in the inlet, which refuses nothing now, when this returns. *Blocking*: a second
        or so at most. Peers can still be answered until `close`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything. May be called at any time after the constructor; idempotent."""

    def form(self, parcels: Sequence[Parcel]) -> Sequence[Events]:
        """The events of consecutive parcels, in their order: many small ones are made into one batch here, so this is where to
        parse with vector operations. Must not raise for anything that a peer can send."""
        from qanat.inlet import joined

        return joined([parcel.content for parcel in parcels], {"host": self.context.host})

    def lag_bytes(self) -> int:
        """Bytes that exist and were not received yet, as far as known."""
        return 0


class Channel(Component):
    """Where the events of a logical node wait between its source and its destinations.

    It is to the source what a collector is: it takes contiguous batches, knows how far it has taken each of the source's
    streams, and says up to where it will not lose them. To its destinations it is a source: one stream of its own, in
    which its events are numbered (`columns.numbered`), so that a batch of it covers `count` positions. Events that a
    destination asks for and that are gone (dropped for a cursor that was in the way; acked on receipt by a collector that
    then crashed) come as a batch without events over their positions, and are counted: a stream has no holes.

    *Thread*: `open`, `put`, `forget`, `close` belong to the thread that feeds it; each reader has a thread of its own.
    Life: `open`, then `reader` once for each cursor, then anything, then `close` of the readers, then of the channel.

    `keeps`: the strongest level whose promise it keeps. What is less than E2E is lost with the process, so a stopping agent
    delivers what is in it as far as time allows.
    """

    keeps: ClassVar[Level] = Level.E2E

    @classmethod
    def check(cls, config: Any) -> Iterable[Wrong]:
        """What is wrong with what every channel is told; those that are told more add to it."""
        if config.capacity < 1:
            yield Wrong("capacity", "it is 0, and nothing could wait in it; give it some, as capacity=64MiB")

    @abc.abstractmethod
    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        """Recover. Gives how far each of the source's streams was taken; the source goes on from there.

        Cursors that are not named any more are forgotten; a new one starts with the oldest event there is.
        Raises ConfigError when the configuration can't work on this host."""

    @abc.abstractmethod
    def put(self, batch: Batch) -> bool:
        """Take a batch whose `start` is where its stream's last one ended; False when there is no room (`Full.BLOCK`).

        What starts before is dropped as taken already. Raises RetryableError when it can't be stored now (disk full):
        the batch was not taken."""

    @abc.abstractmethod
    def wait_for_room(self, timeout_s: float) -> None:
        """*Blocking* until there may be room for what the last `put` refused, or the time is over."""

    @abc.abstractmethod
    def accepted(self) -> Mapping[str, int]:
        """How far each of the source's streams is safe in the channel, as safe as this channel makes it: the source may
        be told. Only what moved since the last call."""

    @abc.abstractmethod
    def forget(self, streams: Sequence[str]) -> None:
        """These streams of the source were taken to their end and will never come again. Durable with the next put."""

    @abc.abstractmethod
    def next_number(self) -> int:
        """Of the first event of the next batch that is put."""

    @abc.abstractmethod
    def reader(self, cursor: str) -> Source:
        """The channel's stream, read for one destination; `acknowledge` moves its cursor. Its other methods are as a source's;
        it can be opened and closed again."""

    @property
    def kind(self) -> type[Channel]:
        """What the flow names, of one that is wrapped as well: whose `name` it has, and what it `keeps`."""
        return type(self)

    def fill(self) -> Fill | None:
        """How full it is; None when it can't tell. *Thread*: that of the source's side."""
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Make durable what this channel promises to keep, release everything. Idempotent."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A cut through what was appended: `sync` makes it durable, after which `token` may be committed.

    `sync` is *blocking*, runs on another thread than `append`, at the same time as later appends; raises RetryableError.
    """

    token: bytes
    sync: Callable[[], None]


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """What a dead process's sink has committed and not finished: how many files (uploads, ...), with how many events.

    `waiting_bytes`: what lies in a log that it was to take from; `stranded`: where more of it lies that can't be reached from
    here, a sentence, and `stranded_bytes` how much."""

    files: int
    events: int
    waiting_bytes: int = 0
    stranded_bytes: int = 0
    stranded: str = ""

    @property
    def is_finishable(self) -> bool:
        """There is something to do about it here."""
        return bool(self.files or self.waiting_bytes)


class Sink(Component):
    """A two-phase sink: nothing is visible before it is committed, and nothing committed is ever lost or doubled.

    Life: `claim`, `open(token)`, then cycles of `append`* `prepare` `sync` [commit record written] `publish`; `discard` aborts.
    *Thread*: `claim`, `open`, `append`, `prepare`, `discard`, `close` run on the sink's thread; `Prepared.sync` and `publish` on
    its sync thread, so they may overlap `append`, never each other, and never `open`, `discard` or `close`.
    All may raise RetryableError (disk full, server away); the owner then calls `discard` with the last committed token
    and starts over after a pause.
    """

    def left_behind(self, token: bytes) -> LeftBehind | None:
        """What the committed `token` of another process has left unfinished in storage that this one reaches, too; None:
        nothing, or it lies elsewhere. Asked of a sink that is not open, and that was made for the other's node. *Blocking*."""
        return None

    def claim(self, *, by_force: bool = False) -> None:
        """Make storage belong to this process alone, before the token for `open` is read. Raises RetryableError while it
        belongs to another one that lives; `by_force` takes it all the same, in the place of one that is not expected back,
        or not soon.

        That one may only be paused, and wake in the middle of any call. *Guarantee*: whatever it still does, what is
        committed stays visible exactly once. All that it does raises RetryableError, and its `discard` FencedError;
        then it claims and opens again. Nothing to do where all of this follows from the commits alone."""

    @abc.abstractmethod
    def open(self, token: bytes | None) -> None:
        """Recover: make storage exactly what the last committed token says (None: nothing was ever committed)."""

    @abc.abstractmethod
    def append(self, batch: Batch) -> None:
        """Take one batch into the open transaction. Order of calls is order in storage, for each stream."""

    @abc.abstractmethod
    def prepare(self) -> Prepared:
        """Cut here: everything appended so far belongs to the transaction, later appends to the next.

        Rolling by age, size, events and idleness is decided here, so it is called at the commit interval even when
        nothing was appended; a token equal to the last committed one means there is nothing to commit."""

    @abc.abstractmethod
    def publish(self, token: bytes) -> None:
        """Make what the committed token says visible. Repeating it, also after a crash half-way, is harmless."""

    @abc.abstractmethod
    def discard(self, token: bytes | None) -> None:
        """Undo everything beyond the last committed `token`, as `open` would; the sink goes on from there. Raises FencedError
        when another process has claimed storage by force."""

    @abc.abstractmethod
    def drain(self) -> None:
        """The next `prepare` closes and publishes every open file: the last one before `close` on a clean stop."""

    def backlog_bytes(self) -> int:
        """What is committed here, and still has to go on from here to where it belongs (a fan-out's branches): while there
        is any, whoever finishes this sink for another goes on committing. *Thread*: any."""
        return 0

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything, without making anything durable. Idempotent."""

    def pause_s(self) -> float:
        """For how long nothing should be appended: a rate is limited. *Thread*: any."""
        return 0.0
