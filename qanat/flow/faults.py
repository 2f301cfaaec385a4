"""Collecting faults with their places, to report all of them at once. [pure]"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from qanat.errors import ConfigError
from qanat.flow.model import SourcePlace

# A line of a flow may be generated and thousands of characters long; what is shown of it fits a terminal.
_EXCERPT_COLUMNS = 120


class Faults:
    """The faults found so far in a text."""

    def __init__(self) -> None:
        self._found: list[tuple[SourcePlace, str]] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, place: SourcePlace, message: str) -> None:
        self._found.append((place, message))

    def extend(self, other: Faults) -> None:
        self._found.extend(other._found)

    def raise_if_any(self) -> None:
        """Raise ConfigError with every fault as `file:line:column: message` and an excerpt, in order."""
        if not self._found:
            return
        self._found.sort(key=lambda fault: (fault[0].line, fault[0].column))
        raise ConfigError(
            *(_render(place, message) for place, message in self._found), place=self._found[0][0]
        )


def _render(place: SourcePlace, message: str) -> str:
    line = place.source_line
    if not line:
        return f"{place}: {message}"
    first = max(0, place.column - 1 - _EXCERPT_COLUMNS // 2) if len(line) > _EXCERPT_COLUMNS else 0
    shown = line[first : first + _EXCERPT_COLUMNS]
    before = "".join("\t" if c == "\t" else " " for c in shown[: place.column - 1 - first])
    return f"{place}: {message}\n    {shown}\n    {before}^"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing when nothing known is close."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), by_lower, n=1)
    return f'; did you mean "{by_lower[close[0]]}"?' if close else ""
