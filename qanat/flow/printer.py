"""From model to text that parses to an equal model, in one form for each. [pure]"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from qanat.flow.model import (
    DEFAULT_FLOW,
    Boolean,
    Branch,
    Call,
    Decorated,
    Duration,
    Failover,
    FanOut,
    Flow,
    Integer,
    Items,
    LogicalNode,
    Real,
    Rolled,
    SinkExpression,
    Size,
    Switch,
    Text,
    Value,
)
from qanat.flow.sinks import give_required
from qanat.flow.strings import quote


def print_flow(flow: Flow) -> str:
    """One statement a line, each ended by a line end."""
    return "".join(f"{line}\n" for line in _lines(flow))


def _lines(flow: Flow) -> Iterator[str]:
    for name, nodes in groupby(flow.nodes, lambda node: node.flow):
        if name == DEFAULT_FLOW:
            yield from map(print_node, nodes)
        else:
            yield f"flow {name} {{"
            yield from (f"  {print_node(node)}" for node in nodes)
            yield "}"


def print_node(node: LogicalNode) -> str:
    """The statement; which flow it belongs to is not part of it."""
    parts = [print_sources(node.sources), *([] if node.channel is None else [print_value(node.channel)])]
    head = node.name if node.selector is None else f"{node.name} @ {node.selector}"
    return f"{head} : {' | '.join([*parts, print_sink(node.sink)])} ;"


def print_sources(sources: tuple[Call, ...]) -> str:
    """A source, or several that are fanned in."""
    printed = ", ".join(map(print_value, sources))
    return printed if len(sources) == 1 else f"[{printed}]"


def print_sink(sink: SinkExpression) -> str:
    """A sink expression as it is written in a flow."""
    match sink:
        case Call():
            return _print_call(sink)
        case FanOut():
            return f"[{', '.join(map(_print_branch, sink.branches))}]"
        case Failover():
            return f"< {' ? '.join(map(print_sink, sink.sinks))} >"
        case Decorated():
            return " ".join([*map(_print_call, sink.decorators), print_sink(sink.sink)])
        case Rolled():
            return f"{_print_call(sink.roll)} {{ {print_sink(sink.sink)} }}"
        case Switch():
            return f"switch({quote(sink.on.value)}) {{ {', '.join(_cases(sink))} }}"


def _cases(switch: Switch) -> Iterator[str]:
    for case in switch.cases:
        yield f"{quote(case.value.value)} => {_print_branch(case.branch)}"
    if switch.otherwise is not None:
        yield f"else => {_print_branch(switch.otherwise)}"


def _print_branch(branch: Branch) -> str:
    return print_sink(give_required(branch.sink) if branch.required else branch.sink)


def print_value(value: Value) -> str:
    """A value, or a component, as it is written in a flow."""
    match value:
        case Text():
            return quote(value.value)
        case Integer():
            return str(value.value)
        case Real():
            return repr(value.value)
        case Boolean():
            return "true" if value.value else "false"
        case Duration() | Size():
            return f"{value.amount:f}{value.unit}"
        case Items():
            return f"[{', '.join(map(print_value, value.values))}]"
        case Call():
            return _print_call(value)


def _print_call(call: Call) -> str:
    arguments = [print_value(value) for value in call.positional]
    arguments += [f"{keyword.name}={print_value(keyword.value)}" for keyword in call.keywords]
    return f"{call.name}({', '.join(arguments)})" if arguments else call.name
