"""A whole flow on one machine: automatic names become loopback addresses, direct nodes become an agent and a collector. [pure]"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from qanat.errors import ConfigError
from qanat.flow.model import Call, Flow, Integer, LogicalNode, SinkExpression, Text
from qanat.flow.sinks import with_calls
from qanat.flow.tiers import Tiers

LOOPBACK = "127.0.0.1"

_AUTO_CHAIN = re.compile(r"auto(E2E|DFO|BE)Chain")


@dataclass(frozen=True, slots=True)
class LocalFlows:
    """What the two programs run; either may be empty."""

    agents: Flow
    collectors: Flow


def localise(tiers: Tiers, ports: Iterator[int]) -> LocalFlows:
    """Takes a port for each automatic collector source and each direct node.

    Raises ConfigError when an automatic chain has no collector to mean.
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
        collectors.append(replace(node, source=Call("collectorSource", (port, Text(LOOPBACK))), channel=None))
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
    """`autoE2EChain` becomes `agentE2EChain(chain)`, and so on."""

    def named(call: Call) -> SinkExpression:
        automatic = _AUTO_CHAIN.fullmatch(call.name)
        if automatic is None:
            return call
        if not chain:
            raise ConfigError(
                f"{call.place}: {node.name} delivers to {call.name}, and the file has no collector for it; add one: "
                'coll : autoCollectorSource | file("/data/", "events-") ;'
            )
        return replace(call, name=f"agent{automatic[1]}Chain", positional=chain)

    return replace(node, sink=with_calls(node.sink, named))
