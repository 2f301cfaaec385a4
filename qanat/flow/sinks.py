"""Sink expressions: what they hold, and the keyword that belongs to the expression and not to the component. [pure]"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from qanat.flow.model import Boolean, Branch, Call, Failover, FanOut, Keyword, SinkExpression

REQUIRED = "required"


def calls(sink: SinkExpression) -> Iterator[Call]:
    """Every component of the expression, in its order."""
    match sink:
        case Call():
            yield sink
        case FanOut():
            for branch in sink.branches:
                yield from calls(branch.sink)
        case Failover():
            for each in sink.sinks:
                yield from calls(each)


def with_calls(sink: SinkExpression, change: Callable[[Call], SinkExpression]) -> SinkExpression:
    """The expression with every component replaced by `change(component)`."""
    match sink:
        case Call():
            return change(sink)
        case FanOut():
            return replace(
                sink, branches=tuple(replace(b, sink=with_calls(b.sink, change)) for b in sink.branches)
            )
        case Failover():
            return replace(sink, sinks=tuple(with_calls(each, change) for each in sink.sinks))


def branches(sink: SinkExpression) -> Iterator[Branch]:
    """The destinations: the branches of a fan-out, and of those within it; else one."""
    if not isinstance(sink, FanOut):
        yield Branch(sink)
        return
    for branch in sink.branches:
        if isinstance(branch.sink, FanOut):
            yield from branches(branch.sink)
        else:
            yield branch


def take_required(call: Call) -> tuple[Call, Keyword | None]:
    """The component without the fan-out's keyword, and the keyword."""
    for keyword in call.keywords:
        if keyword.name == REQUIRED:
            others = tuple(each for each in call.keywords if each is not keyword)
            return replace(call, keywords=others), keyword
    return call, None


def give_required(sink: SinkExpression) -> SinkExpression:
    """The expression with the keyword where `Branch` reads it: at the first component."""
    match sink:
        case Call():
            return replace(sink, keywords=(*sink.keywords, Keyword(REQUIRED, Boolean(True))))
        case Failover():
            return replace(sink, sinks=(give_required(sink.sinks[0]), *sink.sinks[1:]))
        case FanOut():
            raise ValueError("a fan-out within a fan-out is not required as a whole; its branches are")
