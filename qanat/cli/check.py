"""Every fault of a flow's components, found before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from qanat import registry
from qanat.component import Component, Context
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.model import Call, LogicalNode
from qanat.flow.tiers import Tiers

Find = Callable[[str], type[Component]]


def check_tiers(tiers: Tiers) -> None:
    """Check all nodes of a flow file. Raises ConfigError that lists every fault."""
    agents = ((node, registry.source, registry.agent_sink) for node in tiers.agents)
    collectors = ((node, registry.collector_source, registry.sink) for node in tiers.collectors)
    direct = ((node, registry.source, registry.sink) for node in tiers.direct)
    _check(sorted((*agents, *collectors, *direct), key=lambda item: item[0].place.line))


def check_agent(nodes: Iterable[LogicalNode]) -> None:
    """Check an agent's nodes. Raises ConfigError that lists every fault."""
    _check((node, registry.source, registry.agent_sink) for node in nodes)


def check_collector(nodes: Iterable[LogicalNode]) -> None:
    """Check a collector's nodes. Raises ConfigError that lists every fault."""
    _check((node, registry.collector_source, registry.sink) for node in nodes)


def _check(nodes: Iterable[tuple[LogicalNode, Find, Find]]) -> None:
    faults = [
        fault
        for node, find_source, find_sink in nodes
        for call, find in ((node.source, find_source), (node.sink, find_sink))
        for fault in _faults(node, call, find)
    ]
    if faults:
        raise ConfigError(*faults)


def _faults(node: LogicalNode, call: Call, find: Find) -> tuple[str, ...]:
    """A component that is built, but not opened, touches nothing."""
    context = Context(physical_node="check", logical_node=node.name, host="check", state_dir=Path("check"))
    try:
        component = find(call.name)
        config = bind(call, component.Config)
    except ConfigError as error:
        return error.faults
    try:
        component(config, context)
    except ConfigError as error:
        return tuple(f"{call.place}: {call.name}: {fault}" for fault in error.faults)
    return ()
