"""Sink expressions: what they hold, and the keyword that belongs to the expression and not to the component. [pure]"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from qanat.flow.model import (
    Boolean,
    Branch,
    Call,
    Case,
    Decorated,
    Failover,
    FanOut,
    Keyword,
    Rolled,
    SinkExpression,
    Switch,
)

REQUIRED = "required"


def parts(sink: SinkExpression) -> tuple[SinkExpression, ...]:
    """The expressions directly within the expression, in its order."""
    match sink:
        case Call():
            return ()
        case FanOut():
            return tuple(branch.sink for branch in sink.branches)
        case Failover():
            return sink.sinks
        case Decorated() | Rolled():
            return (sink.sink,)
        case Switch():
            last = () if sink.otherwise is None else (sink.otherwise.sink,)
            return (*(case.branch.sink for case in sink.cases), *last)


def with_parts(sink: SinkExpression, change: Callable[[SinkExpression], SinkExpression]) -> SinkExpression:
    """The expression with everything directly within it replaced by `change(part)`."""

    def branch(old: Branch) -> Branch:
        return Branch(change(old.sink), old.required)

    match sink:
        case Call():
            return sink
        case FanOut():
            return replace(sink, branches=tuple(map(branch, sink.branches)))
        case Failover():
            return replace(sink, sinks=tuple(map(change, sink.sinks)))
        case Decorated():
            return decorated(sink.decorators, change(sink.sink))
        case Rolled():
            return replace(sink, sink=change(sink.sink))
        case Switch():
            cases = tuple(Case(case.value, branch(case.branch)) for case in sink.cases)
            return replace(sink, cases=cases, otherwise=sink.otherwise and branch(sink.otherwise))


def calls(sink: SinkExpression) -> Iterator[Call]:
    """Every sink component of the expression, in its order; its decorators are not among them."""
    if isinstance(sink, Call):
        yield sink
    for part in parts(sink):
        yield from calls(part)


def decorators(sink: SinkExpression) -> Iterator[Call]:
    """Every decorator of the expression, in its order."""
    if isinstance(sink, Decorated):
        yield from sink.decorators
    for part in parts(sink):
        yield from decorators(part)


def expressions(sink: SinkExpression) -> Iterator[SinkExpression]:
    """The expression and everything within it."""
    yield sink
    for part in parts(sink):
        yield from expressions(part)


def with_calls(sink: SinkExpression, change: Callable[[Call], SinkExpression]) -> SinkExpression:
    """The expression with every sink component replaced by `change(component)`."""
    if isinstance(sink, Call):
        return change(sink)
    return with_parts(sink, lambda part: with_calls(part, change))


def decorated(decorators: tuple[Call, ...], sink: SinkExpression) -> SinkExpression:
    """`sink` behind `decorators`; one chain, if it has some already."""
    if not decorators:
        return sink
    if isinstance(sink, Decorated):
        return Decorated((*decorators, *sink.decorators), sink.sink, decorators[0].place)
    return Decorated(decorators, sink, decorators[0].place)


def undecorated(sink: SinkExpression) -> tuple[tuple[Call, ...], SinkExpression]:
    """The decorators that all of the expression is behind, and what is behind them."""
    if isinstance(sink, Decorated):
        return sink.decorators, sink.sink
    return (), sink


def take_required(sink: SinkExpression) -> tuple[SinkExpression, Keyword | None]:
    """The expression without the keyword of the fan-out that it is a branch of, and the keyword.

    It stands in the first sink. What fans out by itself has none: its branches have."""
    match sink:
        case Call():
            return _take_required(sink)
        case Failover() if sink.sinks:
            first, keyword = take_required(sink.sinks[0])
            return (sink if keyword is None else replace(sink, sinks=(first, *sink.sinks[1:]))), keyword
        case Decorated() | Rolled():
            inner, keyword = take_required(sink.sink)
            return (sink if keyword is None else replace(sink, sink=inner)), keyword
        case _:
            return sink, None


def _take_required(call: Call) -> tuple[Call, Keyword | None]:
    for keyword in call.keywords:
        if keyword.name == REQUIRED:
            others = tuple(each for each in call.keywords if each is not keyword)
            return replace(call, keywords=others), keyword
    return call, None


def give_required(sink: SinkExpression) -> SinkExpression:
    """The expression with the keyword where `take_required` finds it."""
    match sink:
        case Call():
            return replace(sink, keywords=(*sink.keywords, Keyword(REQUIRED, Boolean(True))))
        case Failover():
            return replace(sink, sinks=(give_required(sink.sinks[0]), *sink.sinks[1:]))
        case Decorated() | Rolled():
            return replace(sink, sink=give_required(sink.sink))
        case FanOut() | Switch():
            raise ValueError("what fans out within a fan-out is not required as a whole; its branches are")
