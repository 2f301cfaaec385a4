"""Numbers out of blocks of lines: one regular expression over a whole block, no statement per line. [pure]"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from qanat.ledger.account import numbers_of

_GLOBAL_FLAGS = re.compile(r"\A\(\?[aiLmsux]+\)")


@dataclass(frozen=True, slots=True)
class Extracted:
    """`numbers`: int64, one for each line that matched; `streams`: string, or None when the pattern names none."""

    numbers: Any
    streams: Any | None
    lines: int


class Extractor:
    """Finds sequence number and stream of each line: the first match of the pattern on it.

    `pattern`: the number is group `seq`, or else group 1; the stream is group `stream`, if it has one.
    `stream_pattern`: another pattern for the stream, anywhere on the same line; group `stream`, or else group 1.
    Raises ValueError when a pattern is unusable.
    """

    def __init__(self, pattern: str, stream_pattern: str | None = None) -> None:
        number = _compiled(pattern, "seq")
        flags = number.flags
        # What follows a match on its line is consumed, so that a line matches once.
        text = f"(?:{_body(pattern, number)})[^\n]*"
        self._number_group = number.groupindex.get("seq", 1)
        self._stream_group = number.groupindex.get("stream")
        if stream_pattern is not None:
            stream = _compiled(stream_pattern, "stream")
            flags |= stream.flags
            self._stream_group = number.groups + stream.groupindex.get("stream", 1)
            inner = f"(?:{_body(stream_pattern, stream)})"
            text = f"^(?=[^\n]*?(?:{_body(pattern, number)}))(?=[^\n]*?{inner})[^\n]*"
        try:
            self._regex = re.compile(text.encode(), (flags | re.MULTILINE) & ~re.UNICODE)
        except re.error as error:
            raise ValueError(f"the two patterns can't be used together: {error}") from error

    def extract(self, block: memoryview, lines: int) -> Extracted:
        """Numbers and streams of a block of `lines` whole lines. Raises ValueError for what is no number."""
        found: list[Any] = self._regex.findall(block)
        if self._regex.groups == 1:
            return Extracted(numbers_of(found), None, lines)
        numbers = numbers_of([groups[self._number_group - 1] for groups in found])
        if self._stream_group is None:
            return Extracted(numbers, None, lines)
        names = [groups[self._stream_group - 1] for groups in found]
        return Extracted(numbers, _strings(names), lines)


def _strings(names: list[bytes]) -> Any:
    try:
        return pa.array(names, pa.string())
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return pa.array([name.decode("utf-8", "backslashreplace") for name in names], pa.string())


def _compiled(pattern: str, group: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern, re.ASCII)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if compiled.groups == 0:
        raise ValueError(
            f"{pattern!r} has no group; put what is wanted in parentheses, such as '{group}=(\\d+)'"
        )
    return compiled


def _body(pattern: str, compiled: re.Pattern[str]) -> str:
    """The pattern as part of a larger one: flags are given apart, and a comment at its end must not go on."""
    body = _GLOBAL_FLAGS.sub("", pattern)
    return f"{body}\n" if compiled.flags & re.VERBOSE else body
