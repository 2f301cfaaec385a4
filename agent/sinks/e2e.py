"""`agentE2ESink`, `agentE2EChain`, `autoE2EChain`: deliver to collectors, acknowledged once committed in storage.

Guarantee: exactly once, in order for each stream, through crashes of agents and collectors.

    web : tail("/var/log/nginx/access.log") | agentE2EChain("collector-1", "collector-2:35853") ;
"""

from __future__ import annotations

from agent.collectors import AutoChain, ChainOfCollectors, OneCollector
from qanat.component import Level


class AgentE2ESink(OneCollector):
    """One collector."""

    name = "agentE2ESink"
    level = Level.E2E


class AgentE2EChain(ChainOfCollectors):
    """Several collectors: the next one when one fails, back to the first when that is healthy again."""

    name = "agentE2EChain"
    level = Level.E2E
    sink = AgentE2ESink


class AutoE2EChain(AutoChain):
    """A chain that whoever starts the cluster fills in: `qanat run` does, with the flow file's collectors."""

    name = "autoE2EChain"
    level = Level.E2E
    chain = AgentE2EChain
