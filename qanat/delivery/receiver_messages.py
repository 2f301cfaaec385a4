"""What the receiver core is told, and what it tells its shell to do [pure]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qanat.delivery.documents import Positions
from qanat.delivery.steps import Step


# Events.
@dataclass(frozen=True, slots=True)
class Start:
    """Recover, then begin."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """What came of the `Perform` with this number: a result, or the error to throw."""

    number: int
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """A sender introduces itself on a new connection."""

    connection: int
    sender: str
    instance: str
    instance_epoch: int
    ack_on_receipt: bool = False


@dataclass(frozen=True, slots=True)
class OpenReceived:
    connection: int
    positions: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class BatchReceived:
    """`corrupt`: its checksum is wrong, so that all of it is doubtful. `rewinds`: how many its sender had followed."""

    connection: int
    stream: str
    start: int
    end: int
    payload_bytes: int
    corrupt: bool = False
    rewinds: int = 0


@dataclass(frozen=True, slots=True)
class RetireReceived:
    connection: int
    streams: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReleaseReceived:
    connection: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    connection: int


@dataclass(frozen=True, slots=True)
class AppendFailed:
    """The sink could not take a batch: the open transaction has a hole and must be undone."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Commit what was received, release the claims, end."""


Event = (
    Start | StepDone | HelloReceived | OpenReceived | BatchReceived | RetireReceived | ReleaseReceived
    | ConnectionLost | AppendFailed | Stop
)  # fmt: skip


# Commands.
@dataclass(frozen=True, slots=True)
class Perform:
    """Perform the step, then say StepDone with this number."""

    number: int
    step: Step


@dataclass(frozen=True, slots=True)
class Append:
    """Append the batch that was just received to the sink."""


@dataclass(frozen=True, slots=True)
class SendWelcome:
    connection: int
    instance_epoch: int
    claim_epoch: int
    committed: Positions


@dataclass(frozen=True, slots=True)
class SendOpened:
    connection: int
    positions: Positions


@dataclass(frozen=True, slots=True)
class SendAck:
    connection: int
    positions: Positions


@dataclass(frozen=True, slots=True)
class SendRewind:
    connection: int
    positions: Positions


@dataclass(frozen=True, slots=True)
class SendFenced:
    """Then close the connection."""

    connection: int
    instance_epoch: int
    instance: str


@dataclass(frozen=True, slots=True)
class SendReleased:
    connection: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    connection: int
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """A change of state that a person may want to know; `event` is a constant name."""

    event: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stopped:
    """All done; the process may end."""


Command = (
    Perform | Append | SendWelcome | SendOpened | SendAck | SendRewind | SendFenced | SendReleased | Disconnect
    | Report | Stopped
)  # fmt: skip
