"""The receiver: one collector sink that accepts, commits and acknowledges the streams it has claimed [pure].

Theory of operation. The core is in one of these phases:

    RECOVERING  own fence moved, commit record read, sink truncated to it
    READY       batches are accepted: `start == next` is appended, `end <= next` was seen, after anything else the sender
                is rewound: all of its streams, so that their order to each other stays what the source made it
    ABORTING    the open transaction is being undone, because the fence moved or the sink failed; batches are dropped,
                and their senders rewound at the end
    STOPPING    one last commit, then claims are released
    STOPPED

Procedures run side by side: the commit loop (`commit.py`), a claim for each hello, a release for each planned move
(`claims.py`). Five rules make it exactly once; docs/delivery.md shows the run that breaks without each:

1. a commit is one multi: check the fence that was adopted, compare-and-set the record by its version;
2. a takeover is one multi: check the old owner's record, move its fence, compare-and-set the claim;
3. a new fence value is adopted only by an abort;
4. recovery moves its own fence before it reads the record;
5. in doubt, read: the commit is found done, or sent again as it was; abort only when the fence has moved.

The shell owes the core two things. Appends and prepares reach the sink in the order of the commands. After a failed append
the sink refuses everything until the next discard, so that no cut can cover the hole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qanat.delivery.claims import Claims
from qanat.delivery.commit import CommitLoop
from qanat.delivery.documents import RECORD_STREAMS_MAX
from qanat.delivery.receiver_messages import (
    Append,
    AppendFailed,
    BatchReceived,
    Command,
    ConnectionLost,
    Disconnect,
    Event,
    HelloReceived,
    OpenReceived,
    Perform,
    ReleaseReceived,
    RetireReceived,
    SendAck,
    SendOpened,
    Start,
    StepDone,
    Stop,
)
from qanat.delivery.state import Held, Phase, SinkState
from qanat.delivery.steps import Procedure, Wait

# Commits' worth of data that may be acked on receipt and not yet be committed. While the store or the disk is away the
# rest waits for its commit, and its sender with it: what an abort loses stays bounded.
RECEIPT_COMMITS_MAX = 4


@dataclass(slots=True)
class _Running:
    """A procedure and the number of the step it waits for."""

    procedure: Procedure
    number: int = -1
    step: Any = None


class ReceiverCore:
    """The protocol state of one collector sink.

    `prefix`: unique for each start of the process; names its transactions. `commit_s`: the interval between commits;
    `commit_bytes`: received payload bytes that start one earlier.
    """

    def __init__(
        self,
        sink: str,
        prefix: str,
        *,
        commit_s: float,
        commit_bytes: int,
        record_streams_max: int = RECORD_STREAMS_MAX,
    ) -> None:
        self.state = SinkState(sink)
        self._commit_bytes = commit_bytes
        self._claims = Claims(self.state)
        loop = CommitLoop(
            self.state,
            self._claims,
            prefix=prefix,
            commit_s=commit_s,
            commit_bytes=commit_bytes,
            record_streams_max=record_streams_max,
        )
        self._main = _Running(loop.run())
        self._running: dict[int, _Running] = {}
        self._steps = 0

    def handle(self, event: Event) -> list[Command]:
        """Take one event in, give the commands that follow from it."""
        match event:
            case BatchReceived():
                self._on_batch(event)
            case StepDone():
                self._on_step_done(event)
            case Start():
                self._advance(self._main, None, None)
            case HelloReceived():
                self._begin(self._claims.ask(event))
            case OpenReceived():
                self._on_open(event)
            case RetireReceived():
                self._on_retire(event)
            case ReleaseReceived():
                held = self.state.holder(event.connection)
                self._begin(None if held is None else self._claims.release(held))
            case ConnectionLost():
                self._on_lost(event)
            case AppendFailed():
                self.state.fail(event.reason)
                self._hurry()
            case Stop():
                self.state.stopping = True
                self._hurry(backoff=True)
        out, self.state.out = self.state.out, []
        return out

    # Batches.

    def _on_batch(self, event: BatchReceived) -> None:
        held = self.state.holder(event.connection)
        if held is None or held.releasing or self.state.phase is not Phase.READY:
            return  # dropped; its sender is rewound when this sink is ready again, or is told to go
        if event.rewinds != held.rewinds:
            return  # on its way before its sender knew of a rewind
        position = held.next.get(event.stream)
        if event.corrupt:  # bytes were damaged on the way: ask again
            self.state.report("batch_corrupt", f"{held.sender}: {event.stream} at {event.start}")
            self.state.rewind(held)
        elif position is None:
            reason = f"stream {event.stream!r} was sent without being opened"
            self.state.out.append(Disconnect(event.connection, reason))
        elif event.start == position and event.end >= position:
            self._accept(held, event)
        elif event.end > position:
            self.state.rewind(held)

    def _accept(self, held: Held, event: BatchReceived) -> None:
        held.next[event.stream] = event.end
        self.state.open_bytes += event.payload_bytes
        self.state.out.append(Append())
        if held.ack_on_receipt and self.state.open_bytes < RECEIPT_COMMITS_MAX * self._commit_bytes:
            self.state.out.append(SendAck(event.connection, {event.stream: event.end}))
        if self.state.open_bytes >= self._commit_bytes:
            self._hurry()

    # Streams and connections.

    def _on_open(self, event: OpenReceived) -> None:
        held = self.state.holder(event.connection)
        if held is None:
            return
        for stream, proposed in event.positions.items():
            held.retired.discard(stream)
            if stream not in held.next:
                held.next[stream] = held.committed.setdefault(stream, proposed)
        if self.state.phase is Phase.READY:
            resume = {stream: held.next[stream] for stream in event.positions}
            self.state.out.append(SendOpened(event.connection, resume))

    def _on_retire(self, event: RetireReceived) -> None:
        held = self.state.holder(event.connection)
        if held is not None:
            held.retire(event.streams)

    def _on_lost(self, event: ConnectionLost) -> None:
        held = self.state.holder(event.connection)
        self.state.senders.pop(event.connection, None)
        if held is not None:
            held.connection = None
        self._claims.connection_lost(event.connection)

    # Procedures.

    def _begin(self, procedure: Procedure | None) -> None:
        if procedure is not None:
            self._advance(_Running(procedure), None, None)

    def _on_step_done(self, event: StepDone) -> None:
        running = self._running.pop(event.number, None)
        if running is not None:  # else a wait that was cut short
            self._advance(running, event.result, event.error)

    def _advance(self, running: _Running, result: Any, error: Exception | None) -> None:
        try:
            if error is None:
                running.step = running.procedure.send(result)
            else:
                running.step = running.procedure.throw(error)
        except StopIteration:
            return
        self._steps += 1
        running.number = self._steps
        self._running[running.number] = running
        self.state.out.append(Perform(running.number, running.step))

    def _hurry(self, *, backoff: bool = False) -> None:
        """End the commit loop's pause, if it is in one; a backoff only when asked to."""
        step, number = self._main.step, self._main.number
        if number in self._running and isinstance(step, Wait) and (backoff or step.attempt == 0):
            del self._running[number]
            self._advance(self._main, None, None)
