"""Errors that are instructions: the type says what the caller should do next.

A message says what was tried, on what, with which value, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class QanatError(Exception):
    """Root of every error that Qanat raises on purpose."""


class RetryableError(QanatError):
    """Nothing was done; the same call may succeed later (disk full, server away)."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermanentError(QanatError):
    """This input will never succeed: dead-letter it and go on."""


class OutcomeUnknownError(QanatError):
    """The call may or may not have taken effect: look, or repeat only if that is harmless."""


class FencedError(QanatError):
    """Somebody newer holds the right to do this: stop."""


class NotConnectedError(RetryableError):
    """The peer or the store can't be reached now; nothing was done."""


class CorruptError(QanatError):
    """Stored or received bytes do not match their checksum or format."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a text a fault is: 1-based line and column."""

    line: int
    column: int
    path: str = "<text>"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


class ConfigError(QanatError):
    """Configuration that can't be used. `faults` lists every one found, each a full sentence."""

    def __init__(self, *faults: str, place: Place | None = None) -> None:
        self.faults = faults
        self.place = place
        super().__init__("\n".join(faults))

    def __reduce__(self) -> tuple[Callable[..., ConfigError], tuple[Any, ...]]:
        return _config_error, (self.faults, self.place)


def _config_error(faults: tuple[str, ...], place: Place | None) -> ConfigError:
    return ConfigError(*faults, place=place)
