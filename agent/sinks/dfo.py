"""`agentDFOSink`, `agentDFOChain`, `autoDFOChain`: deliver to collectors, acknowledged once a collector has received.

Guarantee: in order, and nothing lost while collectors are away: what waits is in memory, and on disk once that is full
(`spillChannel`, unless the flow names a channel). A collector that crashes loses what it had received and not yet
committed, an agent that crashes what was in its memory; both are gaps, which are counted, never events out of order.

    web : tail("/var/log/nginx/access.log") | agentDFOChain("collector-1", "collector-2:35853") ;
"""

from __future__ import annotations

from agent.collectors import AutoChain, ChainOfCollectors, OneCollector
from qanat.component import Level


class AgentDFOSink(OneCollector):
    """One collector."""

    name = "agentDFOSink"
    level = Level.DFO


class AgentDFOChain(ChainOfCollectors):
    """Several collectors: the next one when one fails, back to the first when that is healthy again."""

    name = "agentDFOChain"
    level = Level.DFO
    sink = AgentDFOSink


class AutoDFOChain(AutoChain):
    """A chain that whoever starts the cluster fills in: `qanat run` does, with the flow file's collectors."""

    name = "autoDFOChain"
    level = Level.DFO
    chain = AgentDFOChain
