"""Which logical nodes of a flow belong to which program. [pure]

A node whose source takes what agents deliver is a collector's; one whose sink delivers to collectors is an agent's; one
that leads from a source straight into storage (`direct`) is both at once, on one machine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from qanat.flow.faults import Faults, did_you_mean
from qanat.flow.model import Call, Flow, LogicalNode
from qanat.flow.printer import print_sink
from qanat.flow.sinks import calls


@dataclass(frozen=True, slots=True)
class Names:
    """What components exist, by the names that flows use."""

    sources: Collection[str]
    sinks: Collection[str]
    agent_sinks: Collection[str]
    collector_sources: Collection[str]
    channels: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Tiers:
    """A flow's logical nodes by who runs them, in the flow's order."""

    agents: tuple[LogicalNode, ...]
    collectors: tuple[LogicalNode, ...]
    direct: tuple[LogicalNode, ...]


def split(flow: Flow, names: Names) -> Tiers:
    """Raises ConfigError with every unknown component, and every source that can't feed its sink."""
    faults = Faults()
    agents: list[LogicalNode] = []
    collectors: list[LogicalNode] = []
    direct: list[LogicalNode] = []
    for node in flow.nodes:
        _check_names(node, names, faults)
        receives = node.source.name in names.collector_sources
        delivering = [call.name in names.agent_sinks for call in calls(node.sink)]
        if receives and any(delivering):
            reason = f"{node.source.name} can't feed {print_sink(node.sink)}: a collector writes to storage"
            faults.add(node.sink.place, reason)
        elif any(delivering) and not all(delivering):
            faults.add(
                node.sink.place,
                f"{print_sink(node.sink)} both delivers and stores; write two logical nodes, one for each",
            )
        elif receives:
            _refuse_channel(node, faults)
            collectors.append(node)
        elif any(delivering):
            agents.append(node)
        else:
            direct.append(node)
    faults.raise_if_any()
    return Tiers(tuple(agents), tuple(collectors), tuple(direct))


def _refuse_channel(node: LogicalNode, faults: Faults) -> None:
    if node.channel is not None:
        faults.add(
            node.channel.place,
            f"a collector has no channel: what it has not committed is still with the agents; leave "
            f'"{node.channel.name}" out, or put it between source and sink of the agents\' node',
        )


def _check_names(node: LogicalNode, names: Names, faults: Faults) -> None:
    _check_name("source", node.source, [*names.sources, *names.collector_sources], faults)
    if node.channel is not None:
        _check_name("channel", node.channel, names.channels, faults)
    for call in calls(node.sink):
        _check_name("sink", call, [*names.sinks, *names.agent_sinks], faults)


def _check_name(kind: str, call: Call, known: Collection[str], faults: Faults) -> None:
    if call.name not in known:
        hint = did_you_mean(call.name, known)
        listed = ", ".join(sorted(known)) or "none"
        faults.add(call.place, f'there is no {kind} "{call.name}"{hint}; there are: {listed}')
