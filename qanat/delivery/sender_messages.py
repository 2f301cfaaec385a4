"""What the sender core is told, and what it tells its shell to do [pure]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


# Events: what happened.
@dataclass(frozen=True, slots=True)
class Started:
    """The process is up; begin."""


@dataclass(frozen=True, slots=True)
class WaitOver:
    """The pause asked for by `Pause` number `attempt` is over."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection asked for by `Connect` stands; nothing was said on it yet."""

    connection: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection failed, broke or could not be made."""

    connection: int
    reason: str


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The collector holds our claim."""

    connection: int
    instance_epoch: int
    committed: Mapping[str, int]
    window_bytes: int


@dataclass(frozen=True, slots=True)
class OpenedAt:
    """Where to resume streams that we asked to open."""

    connection: int
    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Acked:
    """Durable in storage up to here."""

    connection: int
    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Rewound:
    """The collector wants these streams again from here."""

    connection: int
    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FencedOff:
    """A newer process of this sender exists."""

    connection: int
    instance_epoch: int
    instance: str


@dataclass(frozen=True, slots=True)
class ReleaseDone:
    """The claim is free for the next collector."""

    connection: int


@dataclass(frozen=True, slots=True)
class Found:
    """The source has these streams, and would start them at these positions by itself."""

    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finished:
    """The source read these streams up to these ends and they will never grow."""

    ends: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WasRead:
    """The source yielded a batch. `generation`: the core's when it was asked to. `events` and `at_s` (monotonic) are for
    metrics alone."""

    stream: str
    start: int
    end: int
    payload_bytes: int
    events: int = 0
    at_s: float = 0.0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class FirstIsHealthy:
    """The first collector of the chain has been reachable for a while, and we are on another."""


Event = (
    Started | WaitOver | Connected | Disconnected | Welcomed | OpenedAt | Acked | Rewound | FencedOff | ReleaseDone
    | Found | Finished | WasRead | FirstIsHealthy
)  # fmt: skip


# Commands: what to do, in this order.
@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before attempt number `attempt` (0 for the first of a series: no wait), then say WaitOver."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect to this destination; then Connected or Disconnected."""

    connection: int
    destination: str


@dataclass(frozen=True, slots=True)
class SendHello:
    connection: int
    sender: str
    instance: str
    instance_epoch: int
    ack_on_receipt: bool = False


@dataclass(frozen=True, slots=True)
class SendOpen:
    connection: int
    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SendRead:
    """Send the batch that was just read, and how many rewinds of this connection were followed before it."""

    connection: int
    rewinds: int = 0


@dataclass(frozen=True, slots=True)
class SendRetire:
    connection: int
    streams: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendRelease:
    connection: int


@dataclass(frozen=True, slots=True)
class Close:
    connection: int


@dataclass(frozen=True, slots=True)
class Recover:
    """Tell the source what is committed downstream."""

    committed: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Seek:
    stream: str
    position: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop this process: somebody newer has the name."""

    reason: str


Command = (
    Pause | Connect | SendHello | SendOpen | SendRead | SendRetire | SendRelease | Close | Recover | Seek
    | Acknowledge | Halt
)  # fmt: skip
