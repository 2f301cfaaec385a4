"""What the sender core is told, and what it tells its shell to do [pure]."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


# Events: what happened.
class Started(msgspec.Struct, frozen=True):
    """The process is up; begin."""


class WaitOver(msgspec.Struct, frozen=True):
    """The pause asked for by `Pause` number `attempt` is over."""

    attempt: int


class Connected(msgspec.Struct, frozen=True):
    """The connection asked for by `Connect` stands; nothing was said on it yet."""

    connection: int


class Disconnected(msgspec.Struct, frozen=True):
    """The connection failed, broke or could not be made."""

    connection: int
    reason: str


class Welcomed(msgspec.Struct, frozen=True):
    """The collector holds our claim."""

    connection: int
    instance_epoch: int
    committed: Mapping[str, int]
    window_bytes: int


class OpenedAt(msgspec.Struct, frozen=True):
    """Where to resume streams that we asked to open."""

    connection: int
    positions: Mapping[str, int]


class Acked(msgspec.Struct, frozen=True):
    """Durable in storage up to here."""

    connection: int
    positions: Mapping[str, int]


class Rewound(msgspec.Struct, frozen=True):
    """The collector wants these streams again from here."""

    connection: int
    positions: Mapping[str, int]


class FencedOff(msgspec.Struct, frozen=True):
    """A newer process of this sender exists."""

    connection: int
    instance_epoch: int
    instance: str


class ReleaseDone(msgspec.Struct, frozen=True):
    """The claim is free for the next collector."""

    connection: int


class Found(msgspec.Struct, frozen=True):
    """The source has these streams, and would start them at these positions by itself."""

    positions: Mapping[str, int]


class Finished(msgspec.Struct, frozen=True):
    """The source read these streams up to these ends and they will never grow."""

    ends: Mapping[str, int]


class WasRead(msgspec.Struct, frozen=True):
    """The source yielded a batch. `generation`: the core's when it was asked to. `events` and `at_s` (monotonic) are for
    metrics alone."""

    stream: str
    start: int
    end: int
    payload_bytes: int
    events: int = 0
    at_s: float = 0.0
    generation: int = 0


class FirstIsHealthy(msgspec.Struct, frozen=True):
    """The first collector of the chain has been reachable for a while, and we are on another."""


Event = (
    Started | WaitOver | Connected | Disconnected | Welcomed | OpenedAt | Acked | Rewound | FencedOff | ReleaseDone
    | Found | Finished | WasRead | FirstIsHealthy
)  # fmt: skip


# Commands: what to do, in this order.
class Pause(msgspec.Struct, frozen=True):
    """Wait before attempt number `attempt` (0 for the first of a series: no wait), then say WaitOver."""

    attempt: int


class Connect(msgspec.Struct, frozen=True):
    """Connect to this destination; then Connected or Disconnected."""

    connection: int
    destination: str


class SendHello(msgspec.Struct, frozen=True):
    connection: int
    sender: str
    instance: str
    instance_epoch: int
    ack_on_receipt: bool = False


class SendOpen(msgspec.Struct, frozen=True):
    connection: int
    positions: Mapping[str, int]


class SendRead(msgspec.Struct, frozen=True):
    """Send the batch that was just read, and how many rewinds of this connection were followed before it."""

    connection: int
    rewinds: int = 0


class SendRetire(msgspec.Struct, frozen=True):
    connection: int
    streams: tuple[str, ...]


class SendRelease(msgspec.Struct, frozen=True):
    connection: int


class Close(msgspec.Struct, frozen=True):
    connection: int


class Recover(msgspec.Struct, frozen=True):
    """Tell the source what is committed downstream."""

    committed: Mapping[str, int]


class Seek(msgspec.Struct, frozen=True):
    stream: str
    position: int


class Acknowledge(msgspec.Struct, frozen=True):
    positions: Mapping[str, int]


class Halt(msgspec.Struct, frozen=True):
    """Stop this process: somebody newer has the name."""

    reason: str


Command = (
    Pause | Connect | SendHello | SendOpen | SendRead | SendRetire | SendRelease | Close | Recover | Seek
    | Acknowledge | Halt
)  # fmt: skip
