"""From text to tokens that know their place. [pure]"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator

from qanat.flow.faults import Faults
from qanat.flow.grammar import scanner
from qanat.flow.model import SourcePlace

# Types that no terminal of the grammar has: a stretch that is no token, its text says why; and what the parser never sees.
BROKEN = "BROKEN"
COMMENT = "COMMENT"

_REST_OF_WORD = re.compile(r"[^\s;\"]*")


class Source:
    """A text that is being read, and the faults found in it."""

    def __init__(self, text: str, path: str, faults: Faults | None = None) -> None:
        self.text = text
        self.path = path
        self.faults = Faults() if faults is None else faults
        self._lines = [line.rstrip("\r") for line in text.split("\n")]
        self._starts = [0]
        for match in re.finditer("\n", text):
            self._starts.append(match.end())

    def place(self, offset: int) -> SourcePlace:
        row = bisect.bisect_right(self._starts, offset) - 1
        return SourcePlace(row + 1, offset - self._starts[row] + 1, self.path, self._lines[row])


class Token:
    """A terminal of the grammar; lark asks for its `type` only."""

    __slots__ = ("source", "start", "text", "type")

    def __init__(self, kind: str, text: str, start: int, source: Source) -> None:
        self.type = kind
        self.text = text
        self.start = start
        self.source = source

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def place(self) -> SourcePlace:
        return self.source.place(self.start)

    @property
    def shown(self) -> str:
        """For a message: short, and in quotes."""
        text = self.text if len(self.text) <= 40 else f"{self.text[:37]}..."
        return text if self.type == "STRING" else f'"{text}"'

    def fault(self, message: str) -> None:
        """Record a fault at this token."""
        self.source.faults.add(self.place, message)


def tokens(source: Source, comments: bool = False) -> Iterator[Token]:
    """The tokens of a text; comments among them if asked for. What is no token becomes a BROKEN one whose text says why."""
    pattern, fixed = scanner()
    text = source.text
    start = 0
    while start < len(text):
        match = pattern.match(text, start)
        if match is None:
            yield Token(BROKEN, _why_no_token(text, start), start, source)
            start = _resume(text, start)
            continue
        found, kind = match[0], match.lastgroup or ""
        if kind == "NAME" or kind == "PUNCTUATION":
            yield Token(fixed.get(found, kind), found, start, source)
        elif kind != "SPACE" and (comments or kind != COMMENT):
            yield Token(kind, found, start, source)
        start = match.end()


def _resume(text: str, offset: int) -> int:
    """Where tokens may start again: an open comment takes everything, an open string its line."""
    if text.startswith("/*", offset):
        return len(text)
    if text[offset] != '"':
        return _REST_OF_WORD.match(text, offset + 1).end()  # type: ignore[union-attr]
    line_end = text.find("\n", offset)
    line_end = len(text) if line_end < 0 else line_end
    # The quote that was forgotten most likely belongs before the `;` that ends the line.
    semicolon = text.rfind(";", offset, line_end)
    return semicolon if semicolon >= 0 else line_end


def _why_no_token(text: str, offset: int) -> str:
    if text[offset] == '"':
        return 'this string has no closing " on its line; a line end in a string is written \\n'
    if text.startswith("/*", offset):
        return "this comment is not closed with */"
    if text[offset] in "'\u201c\u201d\u2018\u2019":
        return f'found {text[offset]}; strings are written in straight double quotes, "like this"'
    return f"unexpected character {text[offset]!r}"
