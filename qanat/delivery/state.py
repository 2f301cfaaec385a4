"""What a receiver knows, shared by its procedures [pure]."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from qanat.coordination.store import Node
from qanat.delivery import documents
from qanat.delivery.documents import Positions, Record
from qanat.delivery.receiver_messages import Command, Disconnect, Report, SendFenced, SendRewind


class Phase(enum.Enum):
    """What a receiver is doing; see the theory of operation in `receiver.py`."""

    RECOVERING = "recovering"
    READY = "ready"
    ABORTING = "aborting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(slots=True)
class Held:
    """A claim that this sink holds, as far as it knows.

    `base`: the claim's, as stored. `committed`: where each stream stands in storage, by the claim's base, our record, or,
    for a stream that neither knows, the sender's proposal. `next`: what was received beyond, for streams that were
    opened. `retired`: streams to forget.
    `version`: of the claim's znode. `ack_on_receipt`: its sender wants to know what was received, not what is stored.
    """

    sender: str
    epoch: int
    version: int
    instance: str
    instance_epoch: int
    connection: int | None
    base: Positions
    committed: Positions
    next: Positions = field(default_factory=dict)
    rewinds: int = 0  # that this connection was told: what was sent before it followed them is dropped
    retired: set[str] = field(default_factory=set)
    releasing: bool = (
        False  # takes no more batches: a commit must not move what the released claim has in its base
    )
    ack_on_receipt: bool = False

    def retire(self, streams: tuple[str, ...]) -> None:
        """Forget these at the next commit, if all of them is in storage."""
        for stream in streams:
            if (
                stream in self.committed
                and self.next.get(stream, self.committed[stream]) == self.committed[stream]
            ):
                self.retired.add(stream)
                self.next.pop(stream, None)

    def learn(self, version: int, base: Positions) -> None:
        """The claim has, or had, this base at this version. What is older than what we know is no news: it was read
        before a fold and told after it, and a fold on top of an old base would forget positions."""
        if version > self.version:
            self.version, self.base = version, base

    def rebase(self, base: Positions, version: int, forgotten: set[str]) -> None:
        """The claim was rewritten with this base, to this version; others may have rewritten it since."""
        self.learn(version, base)
        for stream in forgotten & self.retired:
            self.retired.discard(stream)
            self.committed.pop(stream, None)

    @property
    def is_committed(self) -> bool:
        """Everything that was received is in storage."""
        return all(self.committed[stream] == position for stream, position in self.next.items())


@dataclass(slots=True)
class SinkState:
    """One collector sink: what it adopted from the store, whom it holds, what it wants said (`out`)."""

    sink: str
    phase: Phase = Phase.RECOVERING
    fence: int = -1
    record: Record = field(default_factory=Record)
    record_version: int = -1
    held: dict[str, Held] = field(default_factory=dict)
    gone: set[str] = field(
        default_factory=set
    )  # claims that went elsewhere, with our positions as their base
    senders: dict[int, str] = field(default_factory=dict)  # connection -> sender whose claim is held
    open_bytes: int = 0  # appended and not in a prepared cut
    trouble: str | None = None  # why the open transaction must be undone
    stopping: bool = False
    out: list[Command] = field(default_factory=list)
    commits: int = 0
    aborts: int = 0
    rewinds: int = 0
    takeovers: int = 0

    def holder(self, connection: int) -> Held | None:
        """The claim that this connection feeds; a newer connection of the same sender has taken it from an older one."""
        sender = self.senders.get(connection)
        held = None if sender is None else self.held.get(sender)
        return held if held is not None and held.connection == connection else None

    def hold(self, held: Held) -> None:
        """The claim is ours."""
        self.held[held.sender] = held
        self.gone.discard(held.sender)

    def lose(self, held: Held) -> None:
        """The claim is another's, or free; its base has our positions, so that our record need not keep them."""
        del self.held[held.sender]
        self.gone.add(held.sender)

    def report(self, event: str, reason: str = "") -> None:
        """Tell people."""
        self.out.append(Report(event, reason))

    def adopt(self, fence: Node, record: Node) -> None:
        """Take over what the store says. Only recovery and abort may (rule 3)."""
        self.fence = fence.version
        self.record = documents.decode_record(record.value, documents.commit_path(self.sink))
        self.record_version = record.version

    def fail(self, reason: str) -> None:
        """The open transaction can't be committed; whoever runs the commit loop undoes it."""
        self.trouble = reason
        if self.phase is Phase.READY:
            self.phase = Phase.ABORTING

    def rewind(self, held: Held) -> None:
        """Ask for all open streams again, if their sender is there, from where they are."""
        if held.connection is not None and held.next:
            self.rewinds += 1
            held.rewinds += 1
            self.out.append(SendRewind(held.connection, dict(held.next)))

    def cut_off(self, held: Held, reason: str, newer: tuple[str, int] | None = None) -> None:
        """End the sender's connection; `newer` is the (instance, epoch) that fences it."""
        if held.connection is None:
            return
        self.senders.pop(held.connection, None)
        if newer is not None:
            self.out.append(SendFenced(held.connection, newer[1], newer[0]))
        else:
            self.out.append(Disconnect(held.connection, reason))
        held.connection = None
