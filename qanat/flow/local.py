"""A whole flow on one machine: automatic names become loopback addresses, direct nodes become an agent and a collector. [pure]"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from qanat.errors import ConfigError
from qanat.flow.model import Call, Flow, Integer, LogicalNode, Text
from qanat.flow.tiers import Tiers

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class LocalFlows:
    """What the two programs run; either may be empty."""

    agents: Flow
    collectors: Flow


def localise(tiers: Tiers, ports: Iterator[int]) -> LocalFlows:
    """Takes a port for each automatic collector source and each direct node.

    Raises ConfigError when `autoE2EChain` has no collector to mean.
    """
    collectors = [_with_port(node, ports) for node in tiers.collectors]
    chain = tuple(
        Text(f"{LOOPBACK}:{_port(node)}")
        for node, original in zip(collectors, tiers.collectors, strict=True)
        if original.source.name == "autoCollectorSource"
    )
    agents = [_with_chain(node, chain) for node in tiers.agents]
    for node in tiers.direct:
        port = Integer(next(ports))
        collectors.append(replace(node, source=Call("collectorSource", (port, Text(LOOPBACK)))))
        agents.append(replace(node, sink=Call("agentE2ESink", (Text(LOOPBACK), port))))
    return LocalFlows(Flow(tuple(agents)), Flow(tuple(collectors)))


def _with_port(node: LogicalNode, ports: Iterator[int]) -> LogicalNode:
    if node.source.name != "autoCollectorSource":
        return node
    return replace(node, source=Call("collectorSource", (Integer(next(ports)), Text(LOOPBACK))))


def _port(node: LogicalNode) -> int:
    value = node.source.positional[0]
    assert isinstance(value, Integer)
    return value.value


def _with_chain(node: LogicalNode, chain: tuple[Text, ...]) -> LogicalNode:
    if node.sink.name != "autoE2EChain":
        return node
    if not chain:
        raise ConfigError(
            f"{node.place}: {node.name} delivers to autoE2EChain, and the file has no collector for it; add one: "
            'coll : autoCollectorSource | file("/data/", "events-") ;'
        )
    return replace(node, sink=Call("agentE2EChain", chain))
