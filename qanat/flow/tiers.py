"""Which logical nodes of a flow belong to which program. [pure]

A node whose source takes what agents deliver is a collector's; one whose sink delivers to collectors is an agent's; one
that leads from a source straight into storage (`direct`) is both at once, on one machine.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass

from qanat.flow.faults import Faults, did_you_mean
from qanat.flow.former import instead
from qanat.flow.model import Call, Flow, LogicalNode
from qanat.flow.printer import print_sink
from qanat.flow.sinks import calls, decorators


class Tier(enum.Enum):
    """Who runs a logical node."""

    AGENT = "agent"
    COLLECTOR = "collector"
    DIRECT = "agent and collector"


# Events that are pushed exist nowhere but in the channel, what can be read again is read again after a crash.
MIXED = (
    "sources that are pushed to (syslog, netcat, ...) and sources that are read (tail, spoolDir, ...) do not go into one "
    "channel; write a logical node for each kind, with the same sink"
)


@dataclass(frozen=True, slots=True)
class Names:
    """What components exist, by the names that flows use."""

    sources: Collection[str]
    sinks: Collection[str]
    agent_sinks: Collection[str]
    collector_sources: Collection[str]
    channels: Collection[str] = ()
    decorators: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Tiers:
    """A flow's logical nodes by who runs them, in the flow's order."""

    agents: tuple[LogicalNode, ...]
    collectors: tuple[LogicalNode, ...]
    direct: tuple[LogicalNode, ...]


def split(flow: Flow, names: Names) -> Tiers:
    """Raises FlowError with every unknown component, and every source that can't feed its sink."""
    faults = Faults()
    found = [(node, tier_of(node, names, faults)) for node in flow.nodes]
    faults.raise_if_any()
    return Tiers(
        *(
            tuple(node for node, tier in found if tier is wanted)
            for wanted in (Tier.AGENT, Tier.COLLECTOR, Tier.DIRECT)
        )
    )


def refuse_selectors(flow: Flow) -> None:
    """Raises FlowError for nodes that are meant for some physical nodes only: without a master nobody knows which."""
    faults = Faults()
    for node in flow.nodes:
        if node.selector is not None:
            faults.add(
                node.place,
                f"{node.name} @ {node.selector}: labels are looked at by masters; in a file that a program is given "
                "itself, leave the selector out and start the node where it belongs",
            )
    faults.raise_if_any()


def tier_of(node: LogicalNode, names: Names, faults: Faults) -> Tier | None:
    """Who runs `node`; None when that can't be told, after adding why to `faults`."""
    own = Faults()
    _check_names(node, names, own)
    if not own:
        _refuse_several(node, names, own)
    tier = None if own else _tier(node, names, own)
    faults.extend(own)
    return None if own else tier


def _tier(node: LogicalNode, names: Names, faults: Faults) -> Tier:
    receives = node.sources[0].name in names.collector_sources
    delivering = [call.name in names.agent_sinks for call in calls(node.sink)]
    if receives:
        _refuse_channel(node, faults)
    if receives and any(delivering):
        reason = f"{node.sources[0].name} can't feed {print_sink(node.sink)}: a collector writes to storage"
        faults.add(node.sink.place, reason)
    elif any(delivering) and not all(delivering):
        faults.add(
            node.sink.place,
            f"{print_sink(node.sink)} both delivers and stores; write two logical nodes, one for each",
        )
    if receives:
        return Tier.COLLECTOR
    return Tier.AGENT if any(delivering) else Tier.DIRECT


def _refuse_channel(node: LogicalNode, faults: Faults) -> None:
    if node.channel is not None:
        faults.add(
            node.channel.place,
            f"a collector has no channel: what it has not committed is still with the agents; leave "
            f'"{node.channel.name}" out, or put it between source and sink of the agents\' node',
        )


def _refuse_several(node: LogicalNode, names: Names, faults: Faults) -> None:
    """A collector has one source, whose port is all that several could be for."""
    receiving = [source for source in node.sources if source.name in names.collector_sources]
    if receiving and len(node.sources) > 1:
        faults.add(
            receiving[0].place,
            f"{receiving[0].name} stands alone: any number of agents deliver to it; write a logical node for each other source",
        )


def _check_names(node: LogicalNode, names: Names, faults: Faults) -> None:
    for source in node.sources:
        _check_name("source", source, names, faults)
    if node.channel is not None:
        _check_name("channel", node.channel, names, faults)
    for call in decorators(node.sink):
        _check_name("decorator", call, names, faults)
    for call in calls(node.sink):
        _check_name("sink", call, names, faults)


def _check_name(kind: str, call: Call, names: Names, faults: Faults) -> None:
    kinds = {
        "source": (*names.sources, *names.collector_sources),
        "channel": tuple(names.channels),
        "decorator": tuple(names.decorators),
        "sink": (*names.sinks, *names.agent_sinks),
    }
    if not call.name or call.name in kinds[kind]:  # without a name it was found faulty before
        return
    others = [other for other, known in kinds.items() if call.name in known]
    if former := instead(kind, call.name):
        hint = f", as Flume OG had it: {former}"
    elif others:
        hint = f"; it is a {others[0]}, and stands in the wrong place: NAME : SOURCE | CHANNEL | DECORATOR SINK ;"
    else:
        hint = (
            did_you_mean(call.name, kinds[kind])
            + f"; there are: {', '.join(sorted(kinds[kind])) or 'none yet'}"
        )
    faults.add(call.place, f'there is no {kind} "{call.name}"{hint}')
