"""From text to model, with every fault of the text reported at once. [pure]

Tokens are fed one statement at a time to lark's LALR parser. After a fault the rest of the statement, up to
its `;`, is skipped and parsing goes on. The grammar is loaded on first use.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING, Any

from qanat.flow.build import Builder, TextPlaces
from qanat.flow.faults import Faults
from qanat.flow.model import Call, Flow, LogicalNode

if TYPE_CHECKING:
    from lark import Lark, Token, Tree
    from lark.parsers.lalr_interactive_parser import InteractiveParser

# The type of a stretch that no terminal matches; never a terminal of the grammar.
_BROKEN = "BROKEN"
_REST_OF_WORD = re.compile(r"[^\s;\"]*")

_READABLE = {
    "NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "TRUE": "true",
    "FALSE": "false",
    "COLON": '":"',
    "SEMICOLON": '";"',
    "VBAR": '"|"',
    "LPAR": '"("',
    "RPAR": '")"',
    "LSQB": '"["',
    "RSQB": '"]"',
    "COMMA": '","',
    "EQUAL": '"="',
    "LESSTHAN": '"<"',
    "MORETHAN": '">"',
    "QMARK": '"?"',
    "$END": "the end",
}
_VALUE_STARTS = {"NAME", "STRING", "NUMBER", "TRUE", "FALSE", "LSQB"}


def parse(text: str, path: str = "<flow>") -> Flow:
    """The flow that `text` describes; `path` is what faults call it.

    Raises ConfigError with all faults, each as `path:line:column: message` and an excerpt.
    """
    reader = _Reader(text, path)
    nodes = [reader.builder.logical_node(tree) for tree in reader.trees("statement")]
    _refuse_duplicates(nodes, reader.faults)
    reader.faults.raise_if_any()
    return Flow(tuple(nodes), path)


def parse_component(text: str, path: str = "<component>") -> Call:
    """A single component such as `tail("x")`. Raises ConfigError with all faults."""
    reader = _Reader(text, path)
    calls = [reader.builder.call(tree.children[0]) for tree in reader.trees("component")]
    reader.faults.raise_if_any()
    return calls[0]


def _refuse_duplicates(nodes: list[LogicalNode], faults: Faults) -> None:
    first: dict[str, LogicalNode] = {}
    for node in nodes:
        earlier = first.setdefault(node.name, node)
        if earlier is not node:
            faults.add(
                node.place,
                f'the logical node "{node.name}" is already defined at line {earlier.place.line}; '
                "give it another name",
            )


@functools.cache
def _lark() -> Lark:
    from lark import Lark

    grammar = resources.files("qanat.flow").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar, parser="lalr", lexer="basic", start=["statement", "component"], propagate_positions=True
    )


class _Reader:
    """One pass over one text."""

    def __init__(self, text: str, path: str) -> None:
        self._text = text
        self.faults = Faults()
        self._places = TextPlaces(text, path)
        self.builder = Builder(self._places, self.faults)

    def trees(self, start: str) -> Iterator[Tree[Any]]:
        """The parse tree of every well-formed `start`; faults of the others are recorded.

        Statements end at their `;`, a component at the end of the text.
        """
        statements = start == "statement"
        parser = _lark().parse_interactive(start=start)
        fed, skipping = 0, False
        for token in self._tokens():
            skipping = skipping or not self._feed(parser, token)
            fed += 1
            if statements and token.type == "SEMICOLON":
                if not skipping:
                    yield parser.feed_eof()  # type: ignore[no-untyped-call]
                parser = _lark().parse_interactive(start=start)
                fed, skipping = 0, False
        if not skipping and not (statements and fed == 0):
            yield from self._finish(parser)

    def _feed(self, parser: InteractiveParser, token: Token) -> bool:
        """False, after recording why, when `token` does not fit."""
        from lark.exceptions import UnexpectedToken

        place = self._places.at(token.start_pos or 0)
        if token.type == _BROKEN:
            self.faults.add(place, str(token))
            return False
        try:
            parser.feed_token(token)
        except UnexpectedToken:
            self.faults.add(place, f"found {_shown(token)}, expected {_alternatives(parser)}")
            return False
        return True

    def _finish(self, parser: InteractiveParser) -> Iterator[Tree[Any]]:
        from lark.exceptions import UnexpectedToken

        try:
            yield parser.feed_eof()  # type: ignore[no-untyped-call]
        except UnexpectedToken:
            end = self._places.at(len(self._text.rstrip()))
            self.faults.add(end, f"the text ends too early, expected {_alternatives(parser)}")

    def _tokens(self) -> Iterator[Token]:
        """Tokens, positioned in the whole text; what is none becomes a BROKEN token whose text says why."""
        from lark import Token
        from lark.exceptions import UnexpectedCharacters

        start = 0
        while start < len(self._text):
            try:
                for token in _lark().lex(self._text[start:]):
                    token.start_pos = (token.start_pos or 0) + start
                    yield token
                return
            except UnexpectedCharacters as error:
                offset = start + (error.pos_in_stream or 0)
                yield Token(_BROKEN, _why_no_token(self._text, offset), start_pos=offset)
                start = self._resume(offset)

    def _resume(self, offset: int) -> int:
        """Where tokens may start again: an open comment takes everything, an open string its line."""
        if self._text.startswith("/*", offset):
            return len(self._text)
        if self._text[offset] != '"':
            return _REST_OF_WORD.match(self._text, offset + 1).end()  # type: ignore[union-attr]
        line_end = self._text.find("\n", offset)
        line_end = len(self._text) if line_end < 0 else line_end
        # The quote that was forgotten most likely belongs before the `;` that ends the line.
        semicolon = self._text.rfind(";", offset, line_end)
        return semicolon if semicolon >= 0 else line_end


def _shown(token: Token) -> str:
    text = token if len(token) <= 40 else f"{token[:37]}..."
    return str(text) if token.type == "STRING" else f'"{text}"'


def _alternatives(parser: InteractiveParser) -> str:
    accepted: set[str] = parser.accepts()  # type: ignore[no-untyped-call]
    names = ["a value"] if accepted >= _VALUE_STARTS else []
    rest = accepted - _VALUE_STARTS if names else accepted
    names += sorted(_READABLE.get(name, name) for name in rest)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _why_no_token(text: str, offset: int) -> str:
    if text[offset] == '"':
        return 'this string has no closing " on its line; a line end in a string is written \\n'
    if text.startswith("/*", offset):
        return "this comment is not closed with */"
    if text[offset] in "'\u201c\u201d\u2018\u2019":
        return f'found {text[offset]}; strings are written in straight double quotes, "like this"'
    return f"unexpected character {text[offset]!r}"
