"""An agent under masters: its logical nodes come and go, one by one, while the others run."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from agent import home
from agent.channelled import Channelled
from agent.dealt import Dealt
from agent.delivery import Delivery
from agent.plan import Line, lines
from agent.program import Agent
from agent.program import Running as Part
from qanat import registry
from qanat.check import installed_names
from qanat.component import Level
from qanat.control.measures import Measures
from qanat.control.running import DESTINATIONS_MAX, Destination, Running
from qanat.control.sampling import TapPoints
from qanat.delivery.sender import Phase
from qanat.errors import ConfigError, RetryableError
from qanat.flow.faults import Faults
from qanat.flow.model import Call, LogicalNode
from qanat.flow.parser import parse
from qanat.flow.routes import routes
from qanat.flow.tiers import Tier, tier_of
from qanat.metrics import Metrics
from qanat.throttle import Throttles
from qanat.wire.v1 import control_pb2 as wire


class AgentProgram:
    """See `qanat.control.running.Program`. `agent` builds the parts; its own list of nodes is empty."""

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


class RunningNode:
    """See `qanat.control.running.Running`."""

    def __init__(self, node: LogicalNode, parts: list[Part], agent: Agent) -> None:
        self._node = node
        self._parts = parts
        self._agent = agent
        self._rehomed: set[int] = set()  # parts whose events wait elsewhere from the next statement on

    async def run(self, opened: Callable[[str], None]) -> None:
        """Raises what a part raises. No part moves an event before all are open: where one does not open, what ran before goes
        on, as if this had never been."""
        for part in self._parts:
            part.may_begin.clear()
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(part.run()) for part in self._parts]
                opening = group.create_task(self._when_open(opened))
                await asyncio.wait(running)
                opening.cancel()
        except asyncio.CancelledError:
            if not self._rehomed:
                raise
            raise self._unsettled() from None
        if not all(_is_clean(self._parts[index]) for index in self._rehomed):
            raise self._unsettled()

    def amend(self, node: LogicalNode) -> bool:
        """When only the chains of collectors are others, and each still has the collector that is used: automatic chains of
        all agents change whenever a collector comes or goes."""
        before, after = _lines(self._node), _lines(node)
        if [_without_sinks(line) for line in before] != [_without_sinks(line) for line in after]:
            return False
        changes: list[tuple[Delivery, tuple[str, ...]]] = []
        dealt: list[tuple[Dealt, tuple[str, ...]]] = []
        for part, line in zip(self._parts, after, strict=True):
            deliveries = list(_deliveries([part]))
            if isinstance(part, Dealt):
                dealt.append((part, self._agent.chain_of(line.destinations[0])))
                changes += [(each, dealt[-1][1]) for each in deliveries]
                continue
            if len(deliveries) != len(line.destinations):
                return False  # its channel is not open yet
            changes += zip(deliveries, map(self._agent.chain_of, line.destinations), strict=True)
        if not all(each.core.destinations[each.core.destination] in chain for each, chain in changes):
            return False
        for delivery, chain in changes:
            delivery.core.redirect(chain)
        for part, chain in dealt:
            part.chain = chain
        self._node = node
        return True

    def stop(self, successor: str) -> None:
        """Where the successor has another channel, or none, everything that was taken from the source has to be acked before:
        positions of one channel mean nothing in another."""
        before = _channels(self._node)
        after = _channels(parse(successor).nodes[0]) if successor else before
        for index, (part, (label, channel)) in enumerate(zip(self._parts, before.items(), strict=True)):
            if home.place(after.get(label, channel)) != home.place(channel) and not _forgets(channel):
                self._rehomed.add(index)
            if isinstance(part, Channelled):
                part.stop(empty=index in self._rehomed)
            else:
                part.stop(leave=index in self._rehomed)

    def retry_soon(self) -> None:
        """See `Running`."""
        for delivery in _deliveries(self._parts):
            delivery.retry_soon()

    @property
    def is_over(self) -> bool:
        """See `Running`."""
        return all(isinstance(part, Delivery | Channelled) and part.is_over for part in self._parts)

    @property
    def delivers_to(self) -> Sequence[Destination]:
        """See `Running`."""
        longest: dict[str, float] = {}
        for delivery in _deliveries(self._parts):
            address, for_s = delivery.standing.now()
            longest[address] = max(for_s, longest.get(address, 0.0))
        found = [Destination(address, for_s) for address, for_s in sorted(longest.items())]
        return found[:DESTINATIONS_MAX]

    @property
    def trouble(self) -> str:
        """No collector answers, while there may be something to deliver."""
        for delivery in _deliveries(self._parts):
            if delivery.core.phase in (Phase.BACKOFF, Phase.CONNECTING):
                return f"no collector answers: {', '.join(delivery.core.destinations)}"
        return ""

    def _unsettled(self) -> RetryableError:
        return RetryableError(
            f"{self._node.name} gets another channel, and what was read for the old one was not acknowledged by a collector in "
            "time; the old statement goes on, and the change is tried again"
        )

    async def _when_open(self, opened: Callable[[str], None]) -> None:
        for part in self._parts:
            await part.opened.wait()
        opened("")
        for part in self._parts:
            part.may_begin.set()


def _lines(node: LogicalNode) -> tuple[Line, ...]:
    return lines(
        node,
        routes(node.sink, registry.general_form),
        lambda name: registry.agent_sink(name).level,
        registry.is_live,
        registry.consumes,
    )


def _without_sinks(line: Line) -> Line:
    """All of it but which collectors it delivers to."""
    return replace(line, destinations=tuple(replace(each, sinks=()) for each in line.destinations))


def _channels(node: LogicalNode) -> dict[str, Call | None]:
    """Where the events of each source wait."""
    return {line.label: line.channel for line in _lines(node)}


def _forgets(channel: Call | None) -> bool:
    """What waits in it is lost with the process anyway, and so promised to nobody."""
    return channel is not None and registry.channel(channel.name).keeps is Level.BE


def _deliveries(parts: Iterable[Part]) -> Iterator[Delivery]:
    for part in parts:
        yield from (part,) if isinstance(part, Delivery) else part.deliveries


def _is_clean(part: Part) -> bool:
    """It has ended with a collector that had acked everything; what was never open may have anything in it."""
    return part.opened.is_set() and all(
        each.core.is_drained and each.core.phase is Phase.STREAMING for each in _deliveries([part])
    )
