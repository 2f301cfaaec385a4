"""What the core of a physical node hears and what it wants done. [pure]

`number` tells the steps of one logical node apart: what comes of a step that was given up is not heard.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from qanat.control.assignment import Assigned


class State(enum.IntEnum):
    """Of a logical node; numbers and names are those of the wire."""

    HELLO = 1
    OPENING = 2
    ACTIVE = 3
    CLOSING = 4
    IDLE = 5
    ERROR = 6
    DECOMMISSIONED = 8
    NO_PROGRESS = 9


# Events.


@dataclass(frozen=True, slots=True)
class Told:
    """A master says what to run."""

    revision: str
    statements: tuple[Assigned, ...]


@dataclass(frozen=True, slots=True)
class Alone:
    """No master answers: run what ran last."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """Build these anew though nothing changed; none: all."""

    logical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checked:
    """`fault`: why the text can't be run; "" when it can."""

    logical: str
    number: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Amended:
    """`done`: what runs has become what Amend said; else nothing has changed."""

    logical: str
    number: int
    done: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """It runs. `address`: where it listens; "" when it does not."""

    logical: str
    number: int
    address: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """It runs no more and has released everything. `why`: it failed, or, after Close, could not be drained; "" otherwise."""

    logical: str
    number: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class TimeOver:
    """A wait is over."""

    logical: str
    number: int


@dataclass(frozen=True, slots=True)
class Measured:
    """`acked`: other than before when more is acknowledged. `behind`: what is left to do; "" when nothing is. `waits_for`: what
    keeps it from doing so, or from opening. `over`: nothing more will come."""

    logical: str
    acked: int
    behind: str
    waits_for: str = ""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process is to end: drain and close everything."""


OfLogical: TypeAlias = Checked | Amended | Opened | Ended | TimeOver | Measured
Event: TypeAlias = Told | Alone | Refreshed | Stopping | OfLogical


# Commands.


@dataclass(frozen=True, slots=True)
class Check:
    """Find out whether `text` can be built, without touching what runs; answer with Checked."""

    logical: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Amend:
    """Let what runs become `text`, which was checked, if that goes without draining it; answer with Amended."""

    logical: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Open:
    """Build and start it, once what was to be saved before is durable; answer with Opened when it has proved to open, and with
    Ended when it ends, or can't be begun."""

    logical: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Drain it and end it. `successor`: the text that follows it; "" when none does."""

    logical: str
    successor: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Answer with TimeOver after the pause before attempt `attempt`, jittered."""

    logical: str
    number: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Save:
    """What lasts over a restart has changed: make it durable."""


@dataclass(frozen=True, slots=True)
class Report:
    """Something that masters want to know has changed."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell people."""

    event: str
    logical: str
    reason: str


Command: TypeAlias = Check | Amend | Open | Close | Wait | Save | Report | Say


@dataclass(frozen=True, slots=True)
class Lasting:
    """What a node knows after a restart. `good`: statements that opened last. `begun`: those that were about to be opened, and
    may have taken events since. `revision`: of the assignment that ran completely last."""

    revision: str = ""
    good: tuple[Assigned, ...] = ()
    begun: tuple[Assigned, ...] = ()


@dataclass(frozen=True, slots=True)
class LogicalReport:
    """A logical node, as masters are told."""

    logical: str
    wanted_hash: str
    running_hash: str
    state: State
    why: str
    since_ns: int
    address: str
    attempts: int
