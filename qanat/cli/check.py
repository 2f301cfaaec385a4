"""Every fault of a flow's components, found before anything is started."""

from __future__ import annotations

from collections.abc import Iterable

from qanat.check import check_nodes
from qanat.flow.model import LogicalNode
from qanat.flow.tiers import Tiers


def check_tiers(tiers: Tiers) -> None:
    """Check all nodes of a flow file. Raises FlowError that lists every fault."""
    check_nodes((*tiers.agents, *tiers.collectors, *tiers.direct))


def check_agent(nodes: Iterable[LogicalNode]) -> None:
    """Check an agent's nodes. Raises FlowError that lists every fault."""
    check_nodes(nodes)


def check_collector(nodes: Iterable[LogicalNode]) -> None:
    """Check a collector's nodes. Raises FlowError that lists every fault."""
    check_nodes(nodes)
