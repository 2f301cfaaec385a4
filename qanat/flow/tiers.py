"""Which logical nodes of a flow belong to which program. [pure]

A node whose source takes what agents deliver is a collector's; one whose sink delivers to collectors is an agent's; one
that leads from a source straight into storage (`direct`) is both at once, on one machine.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from qanat.flow.faults import Faults, did_you_mean
from qanat.flow.model import Flow, LogicalNode


@dataclass(frozen=True, slots=True)
class Names:
    """What components exist, by the names that flows use."""

    sources: Collection[str]
    sinks: Collection[str]
    agent_sinks: Collection[str]
    collector_sources: Collection[str]


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
        delivers = node.sink.name in names.agent_sinks
        if node.channel is not None:
            faults.add(node.channel.place, f'channels are not available yet; leave "{node.channel.name}" out')
        if receives and delivers:
            reason = f"{node.source.name} can't feed {node.sink.name}: a collector writes to storage"
            faults.add(node.sink.place, reason)
        elif receives:
            collectors.append(node)
        elif delivers:
            agents.append(node)
        else:
            direct.append(node)
    faults.raise_if_any()
    return Tiers(tuple(agents), tuple(collectors), tuple(direct))


def _check_names(node: LogicalNode, names: Names, faults: Faults) -> None:
    for kind, call, known in (
        ("source", node.source, [*names.sources, *names.collector_sources]),
        ("sink", node.sink, [*names.sinks, *names.agent_sinks]),
    ):
        if call.name not in known:
            hint = did_you_mean(call.name, known)
            faults.add(
                call.place, f'there is no {kind} "{call.name}"{hint}; there are: {", ".join(sorted(known))}'
            )
