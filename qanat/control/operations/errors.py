"""Why an operation was not done, as administrators are told. [pure]"""

from __future__ import annotations

import enum

import msgspec

from qanat.errors import ConfigError, OutcomeUnknownError, PermanentError, QanatError, RetryableError


class Kind(enum.IntEnum):
    """As `ErrorKind` of the wire."""

    USAGE = 1  # the request is wrong; the message says what to change
    NOT_FOUND = 2
    CONFLICT = 3  # somebody else changed it meanwhile
    UNAVAILABLE = 4  # nothing was done; try later
    OUTCOME_UNKNOWN = 5  # it may have been done: look
    FAILED = 6


# What HTTP calls them.
HTTP_STATUS = {
    Kind.USAGE: 400,
    Kind.NOT_FOUND: 404,
    Kind.CONFLICT: 409,
    Kind.UNAVAILABLE: 503,
    Kind.OUTCOME_UNKNOWN: 504,
    Kind.FAILED: 500,
}


class OperationError(QanatError):
    """An operation that was not done, or may not have been. `faults`: of a flow, each with its place."""

    def __init__(self, kind: Kind, message: str, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.faults = faults


def as_operation_error(error: Exception) -> OperationError | None:
    """What an administrator should be told of `error`; None for a defect."""
    match error:
        case OperationError():
            return error
        case ConfigError():
            return OperationError(Kind.USAGE, str(error), error.faults)
        case msgspec.ValidationError() | msgspec.DecodeError():
            return OperationError(Kind.USAGE, f"wrong arguments: {error}")
        case OutcomeUnknownError():
            return OperationError(Kind.OUTCOME_UNKNOWN, str(error))
        case RetryableError():
            return OperationError(Kind.UNAVAILABLE, str(error))
        case PermanentError():
            return OperationError(Kind.USAGE, str(error))
        case QanatError():
            return OperationError(Kind.FAILED, str(error))
        case _:
            return None
