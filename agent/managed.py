"""An agent under masters: its logical nodes come and go, one by one, while the others run."""

from __future__ import annotations

import uuid
from typing import ClassVar

from agent.node import RunningNode
from agent.program import Agent
from qanat.check import installed_names
from qanat.control.measures import Measures
from qanat.control.running import Running
from qanat.control.sampling import TapPoints
from qanat.errors import ConfigError
from qanat.flow.faults import Faults
from qanat.flow.model import LogicalNode
from qanat.flow.tiers import Tier, tier_of
from qanat.metrics import Metrics
from qanat.throttle import Throttles
from qanat.wire.v1 import control_pb2 as wire


class AgentProgram:
    """See `qanat.control.running.Program`. `agent` builds the parts."""

    role: ClassVar[str] = "agent"

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._instance = uuid.uuid4().hex
        self._measures = Measures(agent.metrics)

    def check(self, node: LogicalNode) -> None:
        """Raises ConfigError, OSError."""
        if tier_of(node, installed_names(), Faults()) is not Tier.AGENT:
            raise ConfigError(f"{node.name} delivers to no collector, so no agent can run it")
        self._agent.build(node, self._instance, to_open=False)

    def build(self, node: LogicalNode) -> Running:
        """Raises ConfigError."""
        return RunningNode(node, self._agent.build(node, self._instance), self._agent)

    @property
    def metrics(self) -> Metrics:
        """See `qanat.control.running.Program`."""
        return self._agent.metrics

    @property
    def taps(self) -> TapPoints:
        """See `qanat.control.running.Program`."""
        return self._agent.taps

    @property
    def throttles(self) -> Throttles:
        """Of what `choke` holds back here."""
        return self._agent.throttles

    def counters(self, logical: str) -> wire.Counters:
        """Of a fan-out: the events of its first destination, the lag of its slowest."""
        of = self._measures.read(logical)
        return wire.Counters(
            events=int(of.first("qanat_acked_events_total")),
            bytes=int(of.first("qanat_acked_bytes_total")),
            lag_bytes=int(
                of.most("qanat_lag_bytes") + of.most("qanat_waiting_bytes") + of.most("qanat_unacked_bytes")
            ),
            lag_s=max(of.most("qanat_lag_seconds"), of.most("qanat_waiting_seconds")),
            unacked_age_s=of.most("qanat_unacked_age_seconds"),
            dropped_events=int(of.total("qanat_dropped_events_total")),
            positions=self._measures.positions(logical),
        )
