"""From model to text that parses to an equal model. [pure]"""

from __future__ import annotations

from qanat.flow.model import (
    Boolean,
    Branch,
    Call,
    Duration,
    Failover,
    FanOut,
    Flow,
    Integer,
    Items,
    LogicalNode,
    Real,
    SinkExpression,
    Size,
    Text,
    Value,
)
from qanat.flow.sinks import give_required
from qanat.flow.strings import quote


def print_flow(flow: Flow) -> str:
    """One statement a line, each ended by a line end."""
    return "".join(f"{print_node(node)}\n" for node in flow.nodes)


def print_node(node: LogicalNode) -> str:
    before = [node.source] if node.channel is None else [node.source, node.channel]
    return f"{node.name} : {' | '.join([*map(print_value, before), print_sink(node.sink)])} ;"


def print_sink(sink: SinkExpression) -> str:
    """A sink, a fan-out or a failover, as it is written in a flow."""
    match sink:
        case Call():
            return _print_call(sink)
        case FanOut():
            return f"[{', '.join(map(_print_branch, sink.branches))}]"
        case Failover():
            return f"< {' ? '.join(map(print_sink, sink.sinks))} >"


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
