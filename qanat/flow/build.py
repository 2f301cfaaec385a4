"""From lark's parse tree to the model; where literals are read and checked. [pure]"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

from qanat.flow.faults import Faults
from qanat.flow.model import (
    Boolean,
    Branch,
    Call,
    Duration,
    Failover,
    FanOut,
    Integer,
    Items,
    Keyword,
    LogicalNode,
    Real,
    SinkExpression,
    Size,
    SourcePlace,
    Text,
    Value,
)
from qanat.flow.sinks import REQUIRED, take_required
from qanat.flow.strings import EscapeError, unquote
from qanat.flow.units import DURATION_NS, parse_number

if TYPE_CHECKING:
    from lark import Token, Tree

# Calls within calls within lists, sinks within sinks: deeper than any sensible flow, far from Python's recursion limit.
NESTING_MAX = 50


class TextPlaces:
    """Offsets in a text to line and column."""

    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._lines = text.split("\n")
        self._starts = [0]
        for line in self._lines[:-1]:
            self._starts.append(self._starts[-1] + len(line) + 1)

    def at(self, offset: int) -> SourcePlace:
        row = bisect.bisect_right(self._starts, offset) - 1
        return SourcePlace(row + 1, offset - self._starts[row] + 1, self._path, self._lines[row].rstrip("\r"))


class Builder:
    """Builds the model of one text. A faulty literal is recorded and replaced, so that building goes on."""

    def __init__(self, places: TextPlaces, faults: Faults) -> None:
        self._places = places
        self._faults = faults

    def logical_node(self, tree: Tree[Any]) -> LogicalNode:
        name, pipeline = tree.children
        source, *channel = [self.call(call) for call in pipeline.children[:-1]]
        sink = self._sink(pipeline.children[-1])
        return LogicalNode(str(name), source, sink, channel[0] if channel else None, self._place(name))

    def _sink(self, tree: Any) -> SinkExpression:
        sink, required = self._part(tree, 0)
        if required is not None:
            self._faults.add(
                required.place,
                f'"{REQUIRED}" is for the branches of a fan-out: [ a({REQUIRED}=true), b ]; a single destination '
                "is always waited for, leave it out",
            )
        return sink

    def _part(self, tree: Any, depth: int) -> tuple[SinkExpression, Keyword | None]:
        """A sink expression, and the keyword for the fan-out that it is a branch of."""
        if tree.data == "call":
            return take_required(self.call(tree))
        place = self._places.at(getattr(tree.meta, "start_pos", 0))
        if depth >= NESTING_MAX:
            self._faults.add(place, f"sinks are nested deeper than {NESTING_MAX} levels")
            return Call("", place=place), None
        parts = [self._part(child, depth + 1) for child in tree.children]
        if tree.data == "fan_out":
            return self._fan_out(parts, place), None
        return self._failover(parts, place)

    def _fan_out(self, parts: list[tuple[SinkExpression, Keyword | None]], place: SourcePlace) -> FanOut:
        if not parts:
            self._faults.add(
                place, "a fan-out with nothing in it; write [ a, b ] with the sinks that get every event"
            )
        return FanOut(tuple(Branch(sink, self._truth(required)) for sink, required in parts), place)

    def _truth(self, required: Keyword | None) -> bool:
        if required is None:
            return False
        if isinstance(required.value, Boolean):
            return required.value.value
        self._faults.add(required.value.place, f'"{REQUIRED}" is true or false')
        return False

    def _failover(
        self, parts: list[tuple[SinkExpression, Keyword | None]], place: SourcePlace
    ) -> tuple[Failover, Keyword | None]:
        if not parts:
            self._faults.add(
                place, "a failover with nothing in it; write < a ? b > with the sinks to try in turn"
            )
        for _, required in parts[1:]:
            if required is not None:
                self._faults.add(
                    required.place,
                    f'"{REQUIRED}" is about the failover as a whole; write it in its first sink: '
                    f"[ < a({REQUIRED}=true) ? b >, c ]",
                )
        return Failover(tuple(sink for sink, _ in parts), place), parts[0][1] if parts else None

    def call(self, tree: Any, depth: int = 0) -> Call:
        name, *arguments = tree.children
        place = self._place(name)
        if depth >= NESTING_MAX:
            self._faults.add(place, f"values are nested deeper than {NESTING_MAX} levels")
            return Call(str(name), place=place)
        positional: list[Value] = []
        keywords: dict[str, Keyword] = {}
        for argument in arguments:
            if getattr(argument, "data", None) == "keyword":
                self._keyword(argument, keywords, depth)
                continue
            value = self._value(argument, depth)
            if keywords:
                self._faults.add(value.place, "a positional argument can't follow a keyword argument")
            positional.append(value)
        return Call(str(name), tuple(positional), tuple(keywords.values()), place)

    def _keyword(self, tree: Any, keywords: dict[str, Keyword], depth: int) -> None:
        name, value = tree.children
        keyword = Keyword(str(name), self._value(value, depth), self._place(name))
        if keywords.setdefault(keyword.name, keyword) is not keyword:
            self._faults.add(keyword.place, f'the argument "{keyword.name}" is given twice')

    def _value(self, node: Any, depth: int) -> Value:
        if getattr(node, "data", None) == "call":
            return self.call(node, depth + 1)
        if getattr(node, "data", None) == "list":
            return self._items(node, depth)
        if node.type == "STRING":
            return self._text(node)
        if node.type == "NUMBER":
            return self._number(node)
        return Boolean(node.type == "TRUE", self._place(node))

    def _items(self, node: Tree[Any], depth: int) -> Items:
        place = self._places.at(getattr(node.meta, "start_pos", 0))
        if depth >= NESTING_MAX:
            self._faults.add(place, f"values are nested deeper than {NESTING_MAX} levels")
            return Items((), place)
        return Items(tuple(self._value(child, depth + 1) for child in node.children), place)

    def _text(self, token: Token) -> Text:
        place = self._place(token)
        try:
            return Text(unquote(token), place)
        except EscapeError as error:
            # An offset is counted within the quotes.
            self._faults.add(self._places.at((token.start_pos or 0) + 1 + error.offset), str(error))
            return Text("", place)

    def _number(self, token: Token) -> Value:
        place = self._place(token)
        try:
            number = parse_number(token)
        except ValueError as error:
            self._faults.add(place, str(error))
            return Integer(0, place)
        if isinstance(number, int):
            return Integer(number, place)
        if isinstance(number, float):
            return Real(number, place)
        amount, unit = number
        return Duration(amount, unit, place) if unit in DURATION_NS else Size(amount, unit, place)

    def _place(self, token: Any) -> SourcePlace:
        return self._places.at(token.start_pos or 0)
