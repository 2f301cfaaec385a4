"""`agentBESink`, `agentBEChain`, `autoBEChain`: deliver to collectors, acknowledged once a collector has received.

Guarantee: in order, and nothing else. What waits is in memory (`memoryChannel(full=drop)`, unless the flow names a channel);
what does not fit is dropped, what a crashed collector or agent had is gone. All that the agent knows to be lost is counted, by
reason.

    web : tail("/var/log/nginx/access.log") | agentBEChain("collector-1", "collector-2:35853") ;
"""

from __future__ import annotations

from agent.collectors import AutoChain, ChainOfCollectors, OneCollector
from qanat.component import Level


class AgentBESink(OneCollector):
    """One collector."""

    name = "agentBESink"
    level = Level.BE


class AgentBEChain(ChainOfCollectors):
    """Several collectors: the next one when one fails, back to the first when that is healthy again."""

    name = "agentBEChain"
    level = Level.BE
    sink = AgentBESink


class AutoBEChain(AutoChain):
    """A chain that whoever starts the cluster fills in: `qanat run` does, with the flow file's collectors."""

    name = "autoBEChain"
    level = Level.BE
    chain = AgentBEChain
