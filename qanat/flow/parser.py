"""From text to model, with every fault of the text reported at once. [pure]

Tokens are fed to lark's LALR parser one entry at a time: a statement up to its `;`, or the head of a group up to its `{`.
After a fault the rest of the entry is skipped and parsing goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qanat.flow.build import GroupHead
from qanat.flow.expected import fault_at, fault_at_end
from qanat.flow.faults import Faults, did_you_mean
from qanat.flow.grammar import lark, refusal
from qanat.flow.model import NAME_CHARACTERS_MAX, Call, Flow, LogicalNode
from qanat.flow.tokens import BROKEN, Source, Token, tokens

if TYPE_CHECKING:
    from lark.parsers.lalr_interactive_parser import InteractiveParser

# Brackets within brackets in one statement: deeper than any sensible flow, far from Python's recursion limit, which
# whoever walks over the model would meet.
NESTING_MAX = 50

# Of a statement, comments included: hundreds of addresses fit. A change keeps it twice, with its history, and ZooKeeper takes
# no more than 1 MB at once.
STATEMENT_CHARACTERS_MAX = 100_000

FLOW = "flow"
_OPENING = {"LPAR", "LSQB", "LBRACE", "LESSTHAN"}
_CLOSING = {"RPAR", "RSQB", "RBRACE", "MORETHAN"}


def parse(text: str, path: str = "<flow>") -> Flow:
    """The flow that `text` describes; `path` is what faults call it.

    Raises FlowError with all faults, each as `path:line:column: message` and an excerpt.
    """
    faults = Faults()
    flow = parse_into(faults, text, path)
    faults.raise_if_any()
    return flow


def parse_into(faults: Faults, text: str, path: str = "<flow>") -> Flow:
    """The statements without syntax errors; faults are added to `faults`."""
    nodes = list(_Reader(Source(text, path, faults)).nodes())
    _refuse_duplicates(nodes, faults)
    return Flow(tuple(nodes), path)


def parse_component(text: str, path: str = "<component>") -> Call:
    """A single component such as `tail("x")`. Raises FlowError with all faults."""
    source = Source(text, path)
    entry = _Entry("component")
    for token in tokens(source):
        if not entry.feed(token):
            break
    call = entry.finish(source)
    source.faults.raise_if_any()
    assert isinstance(call, Call)
    return call


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


class _Entry:
    """A statement or the head of a group, as far as it was read."""

    def __init__(self, start: str = "entry") -> None:
        self._parser: InteractiveParser = lark().parse_interactive(start=start)
        self._refusal = refusal()
        self.is_faulty = False
        self.fed: list[Token] = []
        self.depth = 0
        self.has_bar = False

    def feed(self, token: Token) -> bool:
        """False, after recording why, when `token` does not fit."""
        if token.type == BROKEN:
            token.fault(token.text)
            self.is_faulty = True
            return False
        if why := self._too_long(token):
            token.fault(why)
            self.is_faulty = True
            return False
        try:
            self._parser.feed_token(token)  # type: ignore[arg-type]  # it looks at the type of a token only
        except self._refusal:
            if _is_misspelt_flow(self, token):
                self.fed[0].fault(
                    f'found "{self.fed[0].text} {token.text}"{did_you_mean(self.fed[0].text, [FLOW])}'
                )
            else:
                token.fault(_let(self.fed, token) or fault_at(self._parser, token))
            self.is_faulty = True
            return False
        self.fed.append(token)
        return self._is_shallow(token)

    def _too_long(self, token: Token) -> str:
        if token.type == "NAME" and len(token.text) > NAME_CHARACTERS_MAX:
            return f"a name has {NAME_CHARACTERS_MAX} characters at most, this one has {len(token.text)}"
        length = token.end - (self.fed[0] if self.fed else token).start
        if length > STATEMENT_CHARACTERS_MAX:
            return f"a statement has {STATEMENT_CHARACTERS_MAX:,} characters at most; with this it has {length:,}"
        return ""

    def _is_shallow(self, token: Token) -> bool:
        if token.type in _OPENING:
            self.depth += 1
        elif token.type in _CLOSING:
            self.depth -= 1
        elif token.type == "VBAR":
            self.has_bar = True
        if self.depth > NESTING_MAX:
            token.fault(f"brackets are nested deeper than {NESTING_MAX} levels")
            self.is_faulty = True
        return not self.is_faulty

    def finish(self, source: Source) -> Any:
        """What was read; None, after recording why, when something is missing."""
        if self.is_faulty:
            return None
        try:
            return self._parser.feed_eof()  # type: ignore[no-untyped-call]
        except self._refusal:
            end = source.place(len(source.text.rstrip()))
            source.faults.add(end, fault_at_end(self._parser))
            return None

    def is_group_head(self) -> bool:
        return len(self.fed) == 3 and self.fed[0].type == "FLOW" and self.fed[2].type == "LBRACE"


class _Reader:
    """One pass over one text."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._group: GroupHead | None = None
        self._entry: _Entry | None = None
        self._skipped_depth = 0

    def nodes(self) -> Iterator[LogicalNode]:
        """Every statement without syntax errors."""
        for token in tokens(self._source):
            if self._source.faults.are_too_many:
                return
            node = self._take(token)
            if node is not None:
                yield node
        if self._entry is not None:
            self._entry.finish(self._source)
        if self._group is not None:
            self._source.faults.add(self._group.place, f'the flow "{self._group.name}" is not closed with }}')

    def _take(self, token: Token) -> LogicalNode | None:
        """The statement that ends with `token`, if one does."""
        if self._entry is None and token.type == "RBRACE":
            self._close_group(token)
            return None
        if self._entry is None:
            self._entry = _Entry()
            self._skipped_depth = 0
        elif self._entry.is_faulty:
            self._skip(token)
            return None
        elif _starts_statement(self._entry, token):
            return self._end_before(self._entry.fed[-1], token)
        if not self._entry.feed(token):
            self._recover(token)
        elif token.type == "SEMICOLON" or (token.type == "LBRACE" and self._entry.is_group_head()):
            return self._finish()
        return None

    def _end_before(self, name: Token, token: Token) -> LogicalNode | None:
        """Read the statement again as if it had its `;` before `name`, so that its other faults are found too."""
        assert self._entry is not None
        name.fault(
            f'found a new statement, "{name.text} {token.text}", expected ";" to end the one before it'
        )
        *fed, _ = self._entry.fed
        self._entry = _Entry()
        semicolon = Token("SEMICOLON", ";", name.start, name.source)
        node = self._finish() if all(map(self._entry.feed, [*fed, semicolon])) else None
        self._entry = _Entry()
        self._entry.feed(name)
        self._entry.feed(token)
        return node

    def _finish(self) -> LogicalNode | None:
        assert self._entry is not None
        found = self._entry.finish(self._source)
        self._entry = None
        if isinstance(found, LogicalNode):
            return found if self._group is None else replace(found, flow=self._group.name)
        if isinstance(found, GroupHead):
            if self._group is not None:
                self._source.faults.add(
                    found.place,
                    f'a flow within the flow "{self._group.name}", which begins at line {self._group.place.line}; '
                    "close that with } first",
                )
            self._group = found
        return None

    def _close_group(self, token: Token) -> None:
        if self._group is None:
            token.fault('found "}", and there is no flow NAME { that it could close')
        self._group = None

    def _recover(self, token: Token) -> None:
        assert self._entry is not None
        if _is_misspelt_flow(self._entry, token):
            word = self._entry.fed[0]
            self._entry = _Entry()
            self._entry.feed(Token("FLOW", word.text, word.start, word.source))
            self._entry.feed(token)
            return
        self._skipped_depth = self._entry.depth
        self._skip(token)

    def _skip(self, token: Token) -> None:
        """To the end of a faulty entry: its `;`, or the brace that closes the group."""
        if token.type == "SEMICOLON":
            self._entry = None
        elif token.type == "LBRACE":
            self._skipped_depth += 1
        elif token.type == "RBRACE":
            self._skipped_depth -= 1
            if self._skipped_depth < 0 and self._group is not None:
                self._entry, self._group = None, None


def _starts_statement(entry: _Entry, token: Token) -> bool:
    """A `;` was forgotten: `name :` begins a line, where a name was still taken for a part of the sink before it."""
    if token.type not in ("COLON", "AT") or not entry.has_bar or entry.depth > 0:
        return False
    before, name = entry.fed[-2:]
    return name.type == "NAME" and name.place.line > before.place.line


def _is_misspelt_flow(entry: _Entry, token: Token) -> bool:
    """Two names begin an entry, and the first is nearly `flow`."""
    is_head = token.type == "NAME" and len(entry.fed) == 1 and entry.fed[0].type == "NAME"
    return is_head and did_you_mean(entry.fed[0].text, [FLOW]) != ""


def _let(fed: list[Token], token: Token) -> str:
    """`let x := sink in ...` was in Flume OG before 0.9.3."""
    if token.type == "COLON" and len(fed) > 1 and fed[-2].text == "let":
        return (
            "let is not in the language, as it was not in Flume OG since 0.9.3: write the sink in each place where it "
            "is used"
        )
    return ""
