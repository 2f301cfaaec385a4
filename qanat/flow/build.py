"""From what lark recognises to the model; where literals are read and checked. [pure]

lark calls the method named like a rule when it has read all of it, with tokens and with what the methods of inner rules
returned. A faulty literal is recorded and replaced, so that building goes on. There is no state: tokens know their text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from qanat.flow.build_sinks import Body, Cases, Pattern, assemble, branch, refuse_misplaced
from qanat.flow.model import (
    Boolean,
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
from qanat.flow.selectors import Operator, Requirement, Selector
from qanat.flow.sinks import decorated
from qanat.flow.strings import EscapeError, unquote
from qanat.flow.tokens import Token
from qanat.flow.units import DURATION_NS, parse_number

Children: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class GroupHead:
    """`flow NAME {`."""

    name: str
    place: SourcePlace


class Builder:
    """A method for each rule of the grammar."""

    def statement(self, children: Children) -> LogicalNode:
        name, *selector, (sources, channel, sink) = children
        refuse_misplaced(sink, name.source.faults)
        return LogicalNode(
            name.text, sources, sink, channel, selector[0] if selector else None, place=name.place
        )

    def group(self, children: Children) -> GroupHead:
        flow, name = children
        return GroupHead(name.text, flow.place)

    def component(self, children: Children) -> Call:
        call: Call = children[0]
        return call

    def pipeline(self, children: Children) -> tuple[tuple[Call, ...], Call | None, SinkExpression]:
        sources, *channel, sink = children
        return sources, channel[0] if channel else None, sink

    def sources(self, children: Children) -> tuple[Call, ...]:
        if isinstance(children[0], Call):
            return (children[0],)
        bracket, *found = children
        if not found:
            bracket.fault("there is no source between the brackets; write [ a, b ]")
            return (Call("", place=bracket.place),)
        return tuple(found)

    def sink(self, children: Children) -> SinkExpression:
        return assemble(children)

    def fan_out(self, children: Children) -> FanOut:
        bracket, *sinks = children
        if not sinks:
            bracket.fault("a fan-out with nothing in it; write [ a, b ] with the sinks that get every event")
        return FanOut(tuple(map(branch, sinks)), bracket.place)

    def failover(self, children: Children) -> Failover:
        bracket, *sinks = children
        if not sinks:
            bracket.fault("a failover with nothing in it; write < a ? b > with the sinks to try in turn")
        return Failover(tuple(sinks), bracket.place)

    def arrow(self, children: Children) -> SinkExpression:
        *decorators, sink = children
        return decorated(tuple(decorators), sink)

    def body(self, children: Children) -> Body:
        return Body(*children)

    def cases(self, children: Children) -> Cases:
        return Cases(children[0], tuple(children[1:]))

    def case(self, children: Children) -> Pattern:
        token, sink = children
        return Pattern(token, None if token.type == "ELSE" else _text(token), branch(sink))

    def call(self, children: Children) -> Call:
        name: Token = children[0]
        if len(children) == 1:
            return Call(name.text, place=name.place)
        positional: list[Value] = []
        keywords: dict[str, Keyword] = {}
        for child in children[1:]:
            if isinstance(child, Keyword):
                if keywords.setdefault(child.name, child) is not child:
                    name.source.faults.add(child.place, f'the argument "{child.name}" is given twice')
                continue
            value = _value(child)
            if keywords:
                name.source.faults.add(value.place, "a positional argument can't follow a keyword argument")
            positional.append(value)
        return Call(name.text, tuple(positional), tuple(keywords.values()), name.place)

    def keyword(self, children: Children) -> Keyword:
        name, value = children
        return Keyword(name.text, _value(value), name.place)

    def list(self, children: Children) -> Items:
        bracket, *values = children
        return Items(tuple(map(_value, values)), bracket.place)

    def selector(self, children: Children) -> Selector:
        return Selector(tuple(children))

    def exists(self, children: Children) -> Requirement:
        return Requirement(children[0].text, Operator.EXISTS)

    def missing(self, children: Children) -> Requirement:
        return Requirement(children[0].text, Operator.MISSING)

    def equal(self, children: Children) -> Requirement:
        return _requirement(Operator.IS, children)

    def not_equal(self, children: Children) -> Requirement:
        return _requirement(Operator.IS_NOT, children)

    def among(self, children: Children) -> Requirement:
        return _requirement(Operator.IN, children)

    def not_among(self, children: Children) -> Requirement:
        return _requirement(Operator.NOT_IN, children)


def _requirement(operator: Operator, children: Children) -> Requirement:
    label, *rest = children
    values = (token for token in rest if operator in (Operator.IS, Operator.IS_NOT) or token is not rest[0])
    return Requirement(label.text, operator, tuple(map(_label_value, values)))


def _label_value(token: Token) -> str:
    return _text(token).value if token.type == "STRING" else token.text


def _value(node: Token | Value) -> Value:
    if not isinstance(node, Token):
        return node
    if node.type == "STRING":
        return _text(node)
    if node.type == "NUMBER":
        return _number(node)
    return Boolean(node.type == "TRUE", node.place)


def _text(token: Token) -> Text:
    try:
        return Text(unquote(token.text), token.place)
    except EscapeError as error:
        # An offset is counted within the quotes.
        token.source.faults.add(token.source.place(token.start + 1 + error.offset), str(error))
        return Text(token.text[1:-1], token.place)  # as it stands: whatever looks at it finds no second fault


def _number(token: Token) -> Value:
    place = token.place
    try:
        number = parse_number(token.text)
    except ValueError as error:
        token.fault(str(error))
        return Integer(0, place)
    if isinstance(number, int):
        return Integer(number, place)
    if isinstance(number, float):
        return Real(number, place)
    amount, unit = number
    return Duration(amount, unit, place) if unit in DURATION_NS else Size(amount, unit, place)
