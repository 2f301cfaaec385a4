"""Every fault of a flow's components, found before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from qanat import registry
from qanat.component import Component, Context
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.model import Call, Failover, LogicalNode
from qanat.flow.printer import print_sink
from qanat.flow.routes import routes
from qanat.flow.sinks import branches, calls
from qanat.flow.tiers import Tiers

Find = Callable[[str], type[Component]]
Parts = Iterable[tuple[Call, Find]]


def check_tiers(tiers: Tiers) -> None:
    """Check all nodes of a flow file. Raises ConfigError that lists every fault."""
    agents = ((node, _agent_faults) for node in tiers.agents)
    collectors = ((node, _collector_faults) for node in tiers.collectors)
    direct = ((node, _direct_faults) for node in tiers.direct)
    nodes = sorted((*agents, *collectors, *direct), key=lambda item: item[0].place.line)
    _raise_if_any(fault for node, faults in nodes for fault in faults(node))


def check_agent(nodes: Iterable[LogicalNode]) -> None:
    """Check an agent's nodes. Raises ConfigError that lists every fault."""
    _raise_if_any(fault for node in nodes for fault in _agent_faults(node))


def check_collector(nodes: Iterable[LogicalNode]) -> None:
    """Check a collector's nodes. Raises ConfigError that lists every fault."""
    _raise_if_any(fault for node in nodes for fault in _collector_faults(node))


def _raise_if_any(faults: Iterable[str]) -> None:
    found = list(faults)
    if found:
        raise ConfigError(*found)


def _agent_faults(node: LogicalNode) -> list[str]:
    faults = _faults(node, [*_head(node, registry.source), *_sinks(node, registry.agent_sink)])
    if faults:
        return faults
    try:  # what its sinks mean together
        routes(node.sink, registry.general_form)
    except ConfigError as error:
        return list(error.faults)
    return []


def _collector_faults(node: LogicalNode) -> list[str]:
    return _storage_faults(node, registry.collector_source)


def _direct_faults(node: LogicalNode) -> list[str]:
    return _storage_faults(node, registry.source)


def _storage_faults(node: LogicalNode, find_source: Find) -> list[str]:
    faults = _faults(node, [*_head(node, find_source), *_sinks(node, registry.sink)])
    if any(isinstance(branch.sink, Failover) for branch in branches(node.sink)):
        faults.append(
            f"{node.sink.place}: {print_sink(node.sink)}: a failover is for an agent's collectors; a collector stores in "
            "one place, or with [ a, b ] in several"
        )
    return faults


def _head(node: LogicalNode, find_source: Find) -> Parts:
    yield node.source, find_source
    if node.channel is not None:
        yield node.channel, registry.channel


def _sinks(node: LogicalNode, find: Find) -> Parts:
    return ((call, find) for call in calls(node.sink))


def _faults(node: LogicalNode, parts: Parts) -> list[str]:
    return [fault for call, find in parts for fault in _component_faults(node, call, find)]


def _component_faults(node: LogicalNode, call: Call, find: Find) -> tuple[str, ...]:
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
