"""The sender: delivers the streams of one source to the first reachable collector of a chain [pure].

Theory of operation. A sender is in one of these phases:

    BACKOFF     waiting before the next attempt
    CONNECTING  a connection is being made and the hello answered
    STREAMING   batches flow
    HANDOVER    nothing more is read until all that was sent is acked
    RELEASING   the collector was asked to release the claim, so that the next one need not fence it
    HALTED      another process of this sender is newer; nothing more is done

It keeps no data. The source can be read again from any position that is not acked, so the core only tracks, for each
stream, what was sent and what was acked, and answers every surprise by seeking:

* a batch goes out only if `batch.start == next`; otherwise it is thrown away and the source told to seek to `next`;
* on a rewind, and on every new connection, `next` is what the collector said;
* at most `window_bytes` are sent and not acked.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from qanat.delivery.sender_messages import (
    Acked,
    Acknowledge,
    Close,
    Command,
    Connect,
    Connected,
    Disconnected,
    Event,
    FencedOff,
    Finished,
    FirstIsHealthy,
    Found,
    Halt,
    OpenedAt,
    Pause,
    Recover,
    ReleaseDone,
    Rewound,
    Seek,
    SendHello,
    SendOpen,
    SendRead,
    SendRelease,
    SendRetire,
    Started,
    WaitOver,
    WasRead,
    Welcomed,
)


class Phase(enum.Enum):
    """What the sender is doing; see the module's theory of operation."""

    BACKOFF = "backoff"
    CONNECTING = "connecting"
    STREAMING = "streaming"
    HANDOVER = "handover"
    RELEASING = "releasing"
    HALTED = "halted"


class Trouble(enum.IntEnum):
    """Of a destination; less is better."""

    NONE = 0
    DETOUR = 1  # another takes what was given to it, which has a share of its own
    AWAY = 2  # nobody takes it


@dataclass(slots=True)
class _Stream:
    """One stream: `acked <= next`; `sent` holds the batches between them, oldest first."""

    acked: int
    next: int | None = None  # None: not opened on this connection
    end: int | None = None  # known once finished
    sent: deque[WasRead] = field(default_factory=deque)


class SenderCore:
    """One sender's protocol state. `destinations` is the chain, preferred first.

    `ack_on_receipt`: batches are acked when a collector has them, before they are in storage (levels DFO and BE).
    """

    def __init__(
        self, sender: str, instance: str, destinations: tuple[str, ...], *, ack_on_receipt: bool = False
    ) -> None:
        if not destinations:
            raise ValueError(f"sender {sender!r} has no destination")
        self.sender = sender
        self.instance = instance
        self.destinations = destinations
        self.ack_on_receipt = ack_on_receipt
        self.phase = Phase.BACKOFF
        self.destination = 0
        self.inflight_bytes = 0
        self.acked_batches = 0
        self.acked_events = 0
        self.acked_bytes = 0
        self.rewinds = 0
        self.generation = 0  # of the source's positions: another one with every seek
        self.failovers = 0
        self._streams: dict[str, _Stream] = {}
        self._committed: dict[str, int] = {}  # what collectors said of streams, also of those not found yet
        self._instance_epoch = 0
        self._connection = 0
        self._window_bytes = 0
        self._attempt = 0
        self._welcomed = False
        self._followed = 0  # rewinds of this connection
        self._is_known = False  # some collector has welcomed this process

    @property
    def credit_bytes(self) -> int:
        """Payload bytes that may be read and sent now."""
        if self.phase is not Phase.STREAMING or not self._welcomed:
            return 0
        return self._window_bytes - self.inflight_bytes

    @property
    def trouble(self) -> Trouble:
        """What whoever chooses among destinations has to know. The first attempt of all is no failure yet."""
        if self.phase in (Phase.BACKOFF, Phase.CONNECTING, Phase.HALTED):
            return Trouble.AWAY if self._attempt else Trouble.NONE
        return Trouble.DETOUR if self.destination else Trouble.NONE

    @property
    def is_drained(self) -> bool:
        """Nothing that was sent is waiting for its ack."""
        return self.inflight_bytes == 0

    def redirect(self, destinations: tuple[str, ...]) -> bool:
        """Another chain, that still has the collector which is used or tried now; False, and nothing is changed, when it hasn't.

        If that is not the first any more, the first is returned to when it is found healthy."""
        present = self.destinations[self.destination]
        if present not in destinations:
            return False
        self.destinations, self.destination = destinations, destinations.index(present)
        return True

    def oldest_unacked_s(self) -> float | None:
        """When the oldest batch that waits for its ack was read; None when none does."""
        return min((stream.sent[0].at_s for stream in self._streams.values() if stream.sent), default=None)

    def positions(self) -> dict[str, tuple[int, int | None]]:
        """(acked, next) of each stream."""
        return {name: (stream.acked, stream.next) for name, stream in self._streams.items()}

    def handle(self, event: Event) -> list[Command]:
        """Take one event in, give the commands that follow from it."""
        commands = [] if self.phase is Phase.HALTED else self._dispatch(event)
        if Seek in map(type, commands):
            self.generation += 1
        return commands

    def _dispatch(self, event: Event) -> list[Command]:
        match event:
            case Started():
                return [Pause(self._attempt)]
            case WaitOver():
                return (
                    self._connect() if self.phase is Phase.BACKOFF and event.attempt == self._attempt else []
                )
            case Found():
                return self._found(event)
            case Finished():
                return self._finished(event)
            case WasRead():
                return self._was_read(event)
            case FirstIsHealthy():
                return self._hand_over()
        if event.connection != self._connection or self.phase is Phase.BACKOFF:
            return []  # an echo of a connection that was given up
        match event:
            case Connected():
                return [
                    SendHello(
                        event.connection,
                        self.sender,
                        self.instance,
                        self._instance_epoch,
                        self.ack_on_receipt,
                    )
                ]
            case Welcomed():
                return self._on_welcome(event)
            case OpenedAt():
                return self._resume(event.positions)
            case Rewound():
                self.rewinds += 1
                self._followed += 1
                return self._resume(event.positions) + self._release_when_drained()
            case Acked():
                return self._acked(event)
            case Disconnected() | ReleaseDone():
                return self._disconnected(event)
            case FencedOff():
                return self._fenced(event)

    def _connect(self) -> list[Command]:
        self._connection += 1
        self._welcomed = False
        self.phase = Phase.CONNECTING
        return [Connect(self._connection, self.destinations[self.destination])]

    def _on_welcome(self, event: Welcomed) -> list[Command]:
        self._instance_epoch = event.instance_epoch
        self._window_bytes = event.window_bytes
        self._welcomed = self._is_known = True
        self.phase = Phase.STREAMING
        self._committed = dict(event.committed)
        commands: list[Command] = [Recover(event.committed)]
        # Acks that an earlier connection lost: nobody repeats them.
        missed = {name: at for name, at in event.committed.items() if self._is_news(name, at)}
        for name, position in missed.items():
            self._streams[name].acked = position
        if missed:
            commands.append(Acknowledge(missed))
        commands += self._retire(event.committed)
        if self._streams:
            commands.append(self._open(self._streams))
        return commands

    def _found(self, event: Found) -> list[Command]:
        """All that was found together is opened with one message: ten thousand files would be as many round trips."""
        commands: list[Command] = []
        proposals: dict[str, int] = {}
        for name in [name for name in event.positions if name not in self._streams]:
            proposals[name] = max(event.positions[name], self._committed.pop(name, 0))
            self._streams[name] = _Stream(proposals[name])
        # Acked to an earlier process, whose source did not keep it.
        missed = {name: at for name, at in proposals.items() if at > event.positions[name]}
        if missed:
            commands.append(Acknowledge(missed))
        if proposals and self.phase is Phase.STREAMING and self._welcomed:
            commands.append(self._open(proposals))
        return commands

    def _open(self, names: Iterable[str]) -> SendOpen:
        """Propose to resume where everything before is known to be in storage. An ack on receipt is no such knowledge: a
        collector that never heard of the stream has to see the gap that another's crash has left."""
        known = {name: 0 if self.ack_on_receipt else self._streams[name].acked for name in names}
        return SendOpen(self._connection, known)

    def _is_news(self, name: str, position: int) -> bool:
        stream = self._streams.get(name)
        return stream is not None and position > stream.acked

    def _finished(self, event: Finished) -> list[Command]:
        for name, end in event.ends.items():
            if name in self._streams:
                self._streams[name].end = end
        return self._retire(event.ends)

    def _resume(self, positions: Mapping[str, int]) -> list[Command]:
        """Opened and rewind are the same: `next` is what the collector says, and the source goes there."""
        commands: list[Command] = []
        for name, position in positions.items():
            stream = self._streams.get(name)
            if stream is None:
                continue
            stream.next = position  # received, perhaps not committed: `acked` stays
            self._forget_sent(stream, beyond=position)
            commands.append(Seek(name, position))
        return commands

    def _forget_sent(self, stream: _Stream, *, beyond: int) -> None:
        while stream.sent and stream.sent[-1].end > beyond:
            self.inflight_bytes -= stream.sent.pop().payload_bytes

    def _was_read(self, event: WasRead) -> list[Command]:
        stream = self._streams.get(event.stream)
        if stream is None or stream.next is None or self.phase is not Phase.STREAMING:
            return []  # read before a disconnection or a handover; it will be read again
        if event.start != stream.next or event.generation != self.generation:
            # Read before a seek, and perhaps out of its turn: a file that comes after another is read again with it.
            return [Seek(event.stream, stream.next)]
        stream.next = event.end
        stream.sent.append(event)
        self.inflight_bytes += event.payload_bytes
        return [SendRead(self._connection, self._followed)]

    def _acked(self, event: Acked) -> list[Command]:
        commands: list[Command] = [Acknowledge(event.positions)]
        for name, position in event.positions.items():
            stream = self._streams.get(name)
            if stream is None:
                self._committed[name] = position
                continue
            stream.acked = max(stream.acked, position)
            while stream.sent and stream.sent[0].end <= position:
                batch = stream.sent.popleft()
                self.inflight_bytes -= batch.payload_bytes
                self.acked_batches += 1
                self.acked_events += batch.events
                self.acked_bytes += batch.payload_bytes
            if stream.next is not None and stream.next < position:
                # Rewound, and received after all: what is sent again from there would never be acked again.
                stream.next = position
                commands.append(Seek(name, position))
        commands += self._retire(event.positions)
        return commands + self._release_when_drained()

    def _retire(self, names: Iterable[str]) -> list[Command]:
        """Forget streams that are finished and wholly acked; the source is told, the collector too."""
        done: dict[str, int] = {}
        for name in names:
            stream = self._streams.get(name)
            if stream is not None and stream.end is not None and stream.acked >= stream.end:
                done[name] = stream.acked
        if not done:
            return []
        for name in done:
            self._forget_sent(self._streams.pop(name), beyond=-1)
        return [Acknowledge(done), SendRetire(self._connection, tuple(done))]

    def _hand_over(self) -> list[Command]:
        if self.phase is not Phase.STREAMING or self.destination == 0:
            return []
        self.phase = Phase.HANDOVER
        return self._release_when_drained()

    def _release_when_drained(self) -> list[Command]:
        if self.phase is Phase.HANDOVER and self.is_drained:
            self.phase = Phase.RELEASING
            return [SendRelease(self._connection)]
        return []

    def _disconnected(self, event: Disconnected | ReleaseDone) -> list[Command]:
        """On to the next collector; after a handover back to the first."""
        connection = self._connection
        worked = self._welcomed  # a collector that held our claim starts a new series of attempts
        self._reset_connection()
        if isinstance(event, ReleaseDone):
            self.destination = 0
            self._attempt = 0
        else:
            self.destination = (self.destination + 1) % len(self.destinations)
            self._attempt = 1 if worked else self._attempt + 1
        self.failovers += len(self.destinations) > 1
        return [Close(connection), Pause(self._attempt)]

    def _reset_connection(self) -> None:
        self.phase = Phase.BACKOFF
        self._welcomed = False
        self._followed = 0
        self._connection += 1  # nothing that the old one still says is heard
        self.inflight_bytes = 0
        for stream in self._streams.values():
            stream.next = None
            stream.sent.clear()

    def _fenced(self, event: FencedOff) -> list[Command]:
        connection = self._connection
        self._reset_connection()
        if not self._is_known:  # the name was used before us, and we are the later one: say so
            self._instance_epoch = event.instance_epoch + 1
            self._attempt = 0
            return [Close(connection), Pause(self._attempt)]
        self.phase = Phase.HALTED
        return [
            Close(connection),
            Halt(
                f"another process is sending as {self.sender!r} (instance {event.instance}, epoch "
                f"{event.instance_epoch}; this is instance {self.instance}, epoch {self._instance_epoch}): the later "
                "one wins and this one stops. Give each agent a name and a state directory of its own."
            ),
        ]
