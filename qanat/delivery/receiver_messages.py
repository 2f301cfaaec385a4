"""What the receiver core is told, and what it tells its shell to do [pure]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from qanat.delivery.documents import Positions
from qanat.delivery.steps import Step


# Events.
class Start(msgspec.Struct, frozen=True):
    """Recover, then begin."""


class StepDone(msgspec.Struct, frozen=True):
    """What came of the `Perform` with this number: a result, or the error to throw."""

    number: int
    result: Any = None
    error: Exception | None = None


class HelloReceived(msgspec.Struct, frozen=True):
    """A sender introduces itself on a new connection."""

    connection: int
    sender: str
    instance: str
    instance_epoch: int
    ack_on_receipt: bool = False


class OpenReceived(msgspec.Struct, frozen=True):
    connection: int
    positions: Mapping[str, int]


class BatchReceived(msgspec.Struct, frozen=True):
    """`corrupt`: its checksum is wrong, so that all of it is doubtful. `rewinds`: how many its sender had followed."""

    connection: int
    stream: str
    start: int
    end: int
    payload_bytes: int
    corrupt: bool = False
    rewinds: int = 0


class RetireReceived(msgspec.Struct, frozen=True):
    connection: int
    streams: tuple[str, ...]


class ReleaseReceived(msgspec.Struct, frozen=True):
    connection: int


class ConnectionLost(msgspec.Struct, frozen=True):
    connection: int


class AppendFailed(msgspec.Struct, frozen=True):
    """The sink could not take a batch: the open transaction has a hole and must be undone."""

    reason: str


class Stop(msgspec.Struct, frozen=True):
    """Commit what was received, release the claims, end."""


Event = (
    Start | StepDone | HelloReceived | OpenReceived | BatchReceived | RetireReceived | ReleaseReceived
    | ConnectionLost | AppendFailed | Stop
)  # fmt: skip


# Commands.
class Perform(msgspec.Struct, frozen=True):
    """Perform the step, then say StepDone with this number."""

    number: int
    step: Step


class Append(msgspec.Struct, frozen=True):
    """Append the batch that was just received to the sink."""


class SendWelcome(msgspec.Struct, frozen=True):
    connection: int
    instance_epoch: int
    claim_epoch: int
    committed: Positions


class SendOpened(msgspec.Struct, frozen=True):
    connection: int
    positions: Positions


class SendAck(msgspec.Struct, frozen=True):
    connection: int
    positions: Positions


class SendRewind(msgspec.Struct, frozen=True):
    connection: int
    positions: Positions


class SendFenced(msgspec.Struct, frozen=True):
    """Then close the connection."""

    connection: int
    instance_epoch: int
    instance: str


class SendReleased(msgspec.Struct, frozen=True):
    connection: int


class Disconnect(msgspec.Struct, frozen=True):
    connection: int
    reason: str


class Report(msgspec.Struct, frozen=True):
    """A change of state that a person may want to know; `event` is a constant name."""

    event: str
    reason: str = ""


class Stopped(msgspec.Struct, frozen=True):
    """All done; the process may end."""


Command = (
    Perform | Append | SendWelcome | SendOpened | SendAck | SendRewind | SendFenced | SendReleased | Disconnect
    | Report | Stopped
)  # fmt: skip
