"""Collecting faults with their places, to report all of them at once. [pure]"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from qanat.errors import ConfigError
from qanat.flow.concealed import masked
from qanat.flow.model import SourcePlace

# A line of a flow may be generated and thousands of characters long; what is shown of it fits a terminal.
_EXCERPT_COLUMNS = 120

# Nobody reads more at a time, and a text that is no flow at all would have a fault on every line.
FAULTS_MAX = 100

# Nothing is called so, and comparing takes the square of the length.
_NAME_LENGTH_MAX = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where; as text: `file:line:column: message`, the line, and a caret below the place.

    `conceals`: the line has something secret in it, and no fault of that line shows it.
    """

    place: SourcePlace
    message: str
    conceals: bool = False

    def __str__(self) -> str:
        line, column = masked(self.place.source_line), self.place.column
        if not line:
            return f"{self.place}: {self.message}"
        first = max(0, column - 1 - _EXCERPT_COLUMNS // 2) if len(line) > _EXCERPT_COLUMNS else 0
        shown = line[first : first + _EXCERPT_COLUMNS]
        before = "".join("\t" if c == "\t" else " " * _width(c) for c in shown[: column - 1 - first])
        return f"{self.place}: {self.message}\n    {shown}\n    {before}^"


def _width(character: str) -> int:
    """Columns of a terminal that it takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class FlowError(ConfigError):
    """A flow that can't be used: `found` are its faults, with their places as values."""

    def __init__(self, found: tuple[Fault, ...]) -> None:
        super().__init__(*map(str, found), place=found[0].place)
        self.found = found

    def __reduce__(self) -> tuple[Callable[..., FlowError], tuple[Any, ...]]:
        return FlowError, (self.found,)


class Faults:
    """The faults found so far in a text."""

    def __init__(self) -> None:
        self._found: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def are_too_many(self) -> bool:
        """There is no point in looking for more."""
        return len(self._found) >= FAULTS_MAX

    def add(self, place: SourcePlace, message: str, conceals: bool = False) -> None:
        self._found.append(Fault(place, message, conceals))

    def extend(self, other: Faults) -> None:
        self._found.extend(other._found)

    def add_error(self, error: ConfigError, place: SourcePlace, prefix: str = "") -> None:
        """The faults of `error`: at their own places if it has them, else at `place`."""
        if isinstance(error, FlowError):
            self._found.extend(error.found)
        else:
            self._found.extend(Fault(place, prefix + message) for message in error.faults)

    def raise_if_any(self) -> None:
        """Raise FlowError with every fault, in the order of the text."""
        if not self._found:
            return
        found = sorted(dict.fromkeys(self._found), key=lambda fault: (fault.place.line, fault.place.column))
        if len(found) > FAULTS_MAX:
            found = found[:FAULTS_MAX]
        if len(found) == FAULTS_MAX:
            last = found[-1]
            found[-1] = replace(
                last, message=f"{last.message}; the faults after the {FAULTS_MAX}th are not shown"
            )
        raise FlowError(tuple(_concealed(found)))


def _concealed(found: list[Fault]) -> Iterator[Fault]:
    secret = {(fault.place.path, fault.place.line) for fault in found if fault.conceals}
    for fault in found:
        if (fault.place.path, fault.place.line) in secret:
            yield replace(fault, place=replace(fault.place, source_line=""))
        else:
            yield fault


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing when nothing known is close."""
    if len(given) > _NAME_LENGTH_MAX:
        return ""
    import difflib  # only for who mistypes

    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return f'; did you mean "{by_lower[close[0]]}"?' if close else ""
