"""The canonical layout of a flow file: white space and line ends, and nothing else. [pure]

No token is added, dropped or changed and no comment is lost, so the flow stays what it was. A statement stands on one line
if it fits, else a line begins with each `|`; brackets that do not fit have a line for each thing in them:

    coll : autoCollectorSource
      | regex("level=(\\\\w+)", 1, "level")
        switch("%{level}") {
          "ERROR" => [file("/data/err/%Y-%m-%d/", "e-"), elasticsearch("http://es:9200", "errors")],
          else => file("/data/%Y-%m-%d/", "log-", roll=10m)
        } ;
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from qanat.flow.parser import parse
from qanat.flow.words import END, Comment, Word, words

# Wide enough for most statements, narrow enough for two files side by side.
COLUMNS_MAX = 100
_INDENT = 2

_CLOSING = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE", "LESSTHAN": "MORETHAN"}
_SEPARATORS = {"COMMA", "QMARK"}
_TIGHT = {"EQUAL", "NOT_EQUAL"}
# Whose braces belong to them; others begin an expression of their own, { decorator => sink }.
_WITH_BRACES = {"roll", "collector", "switch"}


def layout(text: str, path: str = "<flow>") -> str:
    """`text` in its canonical layout; laid out again it stays as it is. Raises FlowError when it is no flow."""
    parse(text, path)
    found = words(text)
    writer = _Writer()
    start, indent = 0, 0
    for index, word in enumerate(found):
        entry = found[start : index + 1]
        is_group_head = word.kind == "LBRACE" and len(entry) == 3 and entry[0].kind == "FLOW"
        if word.kind == "RBRACE" and len(entry) == 1:
            writer.close_group(word)
            indent = 0
        elif word.kind == END:
            writer.end(word)
        elif is_group_head or word.kind == "SEMICOLON":
            writer.entry(entry, indent)
            indent = _INDENT if is_group_head else indent
        else:
            continue
        start = index + 1
    return writer.text()


@dataclass(slots=True)
class _Bracket:
    """Something in brackets: `elements[i]` is followed by `separators[i]`, the last perhaps not."""

    open: Word
    elements: list[list[_Node]]
    separators: list[Word]
    close: Word


_Node: TypeAlias = Word | _Bracket


def _nested(flat: Iterator[Word]) -> list[_Node]:
    """The words of a statement, with those in brackets as one node."""
    return [_bracket(word, flat) if word.kind in _CLOSING else word for word in flat]


def _bracket(opening: Word, flat: Iterator[Word]) -> _Bracket:
    elements: list[list[_Node]] = [[]]
    separators: list[Word] = []
    for word in flat:
        if word.kind == _CLOSING[opening.kind]:
            return _Bracket(opening, [each for each in elements if each], separators, word)
        if word.kind in _SEPARATORS:
            separators.append(word)
            elements.append([])
        else:
            elements[-1].append(_bracket(word, flat) if word.kind in _CLOSING else word)
    raise AssertionError("a flow that was parsed has brackets in pairs")


def _flat(nodes: Sequence[_Node]) -> Iterator[Word]:
    for node in nodes:
        if isinstance(node, Word):
            yield node
            continue
        yield node.open
        for index, element in enumerate(node.elements):
            yield from _flat(element)
            yield from node.separators[index : index + 1]
        yield node.close


def _width(flat: Sequence[Word]) -> int | None:
    """Columns on one line; None when comments prevent that."""
    if any(word.above for word in flat[1:]) or any(word.behind for word in flat[:-1]):
        return None
    total = 0
    for before, word in zip([None, *flat], flat, strict=False):
        total += len(word.text) + sum(len(comment.text) + 1 for comment in word.beside)
        total += before is not None and _spaced(before, word)
    return total


def _spaced(before: Word, word: Word) -> bool:
    if before.kind in {"LPAR", "LSQB", "BANG"} | _TIGHT or word.kind in {"RPAR", "RSQB", "COMMA"} | _TIGHT:
        return False
    return word.kind != "LPAR" or before.kind in ("IN", "NOTIN")


def _units(nodes: Sequence[_Node]) -> list[list[_Node]]:
    """What may have a line of its own: decorators and the sink they lead to, each with its arguments and braces."""
    units: list[list[_Node]] = [[]]
    for node in nodes:
        if units[-1] and _begins_unit(units[-1], node):
            units.append([])
        units[-1].append(node)
    return units


def _begins_unit(unit: list[_Node], node: _Node) -> bool:
    last, first = unit[-1], unit[0]
    if isinstance(last, Word) and last.kind == "ARROW":
        return isinstance(first, Word) and first.kind == "NAME"
    if isinstance(last, Word) and last.kind in _TIGHT:
        return False
    if isinstance(node, Word):
        return node.kind == "NAME"
    if node.open.kind == "LBRACE":
        names = [each.text for each in unit if isinstance(each, Word) and each.kind == "NAME"]
        return not (names and names[-1] in _WITH_BRACES)
    return node.open.kind != "LPAR"


class _Writer:
    """Lines, the last of them still being written."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line = ""
        self._last: Word | None = None
        self._is_ended = False  # by a comment: nothing may follow on the line
        self._begins_group = False

    def text(self) -> str:
        self._fresh(0)
        return "".join(f"{line}\n" for line in self._lines)

    def entry(self, entry: list[Word], indent: int) -> None:
        """A statement, or the head of a group."""
        self._begin(entry[0], indent)
        width = _width(entry)
        if entry[-1].kind == "LBRACE" or (width is not None and indent + width <= COLUMNS_MAX):
            self._put(entry, indent)
        else:
            self._broken(entry, indent)
        self._begins_group = entry[-1].kind == "LBRACE"

    def close_group(self, brace: Word) -> None:
        self._begin(brace, _INDENT)
        self._fresh(0)
        self._begins_group = False
        self._put([brace], 0)

    def end(self, end: Word) -> None:
        self._begin(end, 0)

    def _begin(self, word: Word, indent: int) -> None:
        """The comments and empty lines before an entry."""
        for comment in word.above:
            self._own_line(comment.text, indent, comment.after_blank)
            self._begins_group = False
        self._fresh(indent)
        if word.after_blank and word.kind not in (END, "RBRACE"):
            self._blank()
        word.above = []

    def _broken(self, entry: list[Word], indent: int) -> None:
        head = next(index for index, word in enumerate(entry) if word.kind == "COLON") + 1
        self._put(entry[:head], indent + _INDENT)
        segment: list[_Node] = []
        inner = indent + _INDENT
        for node in _nested(iter(entry[head:])):
            if isinstance(node, Word) and node.kind in ("VBAR", "SEMICOLON"):
                self._element(segment, inner)
                segment = []
                if node.kind == "VBAR":
                    self._fresh(indent + _INDENT)
                    inner = indent + 2 * _INDENT
                self._put([node], indent + _INDENT)
            else:
                segment.append(node)

    def _element(self, nodes: list[_Node], indent: int) -> None:
        if self._fits(nodes, indent):
            self._put(_flat(nodes), indent)
            return
        units = _units(nodes)
        self._unit(units[0], indent)
        is_case = isinstance(nodes[0], Word) and nodes[0].kind in ("STRING", "ELSE")
        for unit in units[1:]:
            inner = indent + _INDENT if is_case else indent
            self._fresh(inner)
            self._unit(unit, inner)

    def _unit(self, nodes: list[_Node], indent: int) -> None:
        for node in nodes:
            if isinstance(node, Word) or self._fits([node], indent):
                self._put(_flat([node]), indent)
            else:
                self._lines_of(node, indent)

    def _lines_of(self, bracket: _Bracket, indent: int) -> None:
        inner = indent + _INDENT
        self._put([bracket.open], indent)
        for index, element in enumerate(bracket.elements):
            self._fresh(inner)
            self._element(element, inner)
            self._put(bracket.separators[index : index + 1], inner)
        for comment in bracket.close.above:
            self._own_line(comment.text, inner, False)
        bracket.close.above = []
        self._fresh(indent)
        self._put([bracket.close], indent)

    def _fits(self, nodes: Sequence[_Node], indent: int) -> bool:
        flat = list(_flat(nodes))
        width = _width(flat)
        here = indent if self._is_ended else len(self._line) + 1
        # Two columns for what follows: a separator, or ` ;`.
        return width is not None and here + width + 2 <= COLUMNS_MAX

    def _put(self, flat: Sequence[Word] | Iterator[Word], indent: int) -> None:
        for word in flat:
            for comment in word.above:
                self._own_line(comment.text, indent, False)
            if word.above or self._is_ended:
                self._fresh(indent)
            if self._line.strip() and self._last is not None and _spaced(self._last, word):
                self._line += " "
            self._line += "".join(f"{comment.text} " for comment in word.beside) + word.text
            self._behind(word.behind)
            self._last = word

    def _behind(self, comments: list[Comment]) -> None:
        for comment in comments:
            self._line += f" {comment.text}"
            self._is_ended = True

    def _own_line(self, text: str, indent: int, after_blank: bool) -> None:
        self._fresh(indent)
        if after_blank:
            self._blank()
        self._line += text
        self._is_ended = True

    def _fresh(self, indent: int) -> None:
        if self._line.strip():
            self._lines.append(self._line.rstrip())
        self._line = " " * indent
        self._is_ended = False

    def _blank(self) -> None:
        """An empty line, but not two, and not at the beginning of a file or a group."""
        if self._lines and self._lines[-1] and not self._begins_group:
            self._lines.append("")
