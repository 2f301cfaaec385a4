"""A whole flow on one machine: automatic names become loopback addresses, direct nodes become an agent and a collector. [pure]"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from qanat.errors import ConfigError
from qanat.flow.model import DEFAULT_FLOW, Call, Flow, Integer, LogicalNode, SinkExpression, Text
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
    chains: dict[str, list[Text]] = {}
    for node, original in zip(collectors, tiers.collectors, strict=True):
        if original.source.name == "autoCollectorSource":
            chains.setdefault(node.flow, []).append(Text(f"{LOOPBACK}:{_port(node)}"))
    agents = [_with_chain(node, tuple(chains.get(node.flow, ()))) for node in tiers.agents]
    for node in tiers.direct:
        port = Integer(next(ports))
        collectors.append(
            replace(node, sources=(Call("collectorSource", (port, Text(LOOPBACK))),), channel=None)
        )
        agents.append(replace(node, sink=Call("agentE2ESink", (Text(LOOPBACK), port))))
    return LocalFlows(Flow(tuple(agents)), Flow(tuple(collectors)))


def _with_port(node: LogicalNode, ports: Iterator[int]) -> LogicalNode:
    if node.source.name != "autoCollectorSource":
        return node
    return replace(node, sources=(Call("collectorSource", (Integer(next(ports)), Text(LOOPBACK))),))


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
            where = "the file" if node.flow == DEFAULT_FLOW else f'the flow "{node.flow}"'
            raise ConfigError(
                f"{call.place}: {node.name} delivers to {call.name}, and {where} has no collector for it; add one: "
                'coll : autoCollectorSource | file("/data/", "events-") ;'
            )
        return replace(call, name=f"agent{automatic[1]}Chain", positional=chain)

    return replace(node, sink=with_calls(node.sink, named))
