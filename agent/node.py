"""A logical node of an agent that runs until it is told to stop, and what it leaves to its successor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from agent import home
from agent.channelled import Channelled
from agent.dealt import Dealt
from agent.delivery import Delivery
from agent.plan import Line
from agent.program import Agent, forgets, lines_of
from agent.program import Running as Part
from qanat.control.running import DESTINATIONS_MAX, Destination
from qanat.delivery.sender import Phase
from qanat.errors import RetryableError
from qanat.flow.model import Call, LogicalNode
from qanat.flow.parser import parse


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
        before, after = lines_of(self._node), lines_of(node)
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
            if home.place(after.get(label, channel)) != home.place(channel) and not forgets(channel):
                self._rehomed.add(index)
            if isinstance(part, Channelled):
                part.stop(empty=index in self._rehomed)
            else:
                part.stop(leave=index in self._rehomed)

    @property
    def is_streaming(self) -> bool:
        """A collector answers for everything that it delivers."""
        return all(
            part.deliveries and all(each.core.phase is Phase.STREAMING for each in part.deliveries)
            if isinstance(part, Channelled)
            else isinstance(part, Dealt) or part.core.phase is Phase.STREAMING
            for part in self._parts
        )

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


def _without_sinks(line: Line) -> Line:
    """All of it but which collectors it delivers to."""
    return replace(line, destinations=tuple(replace(each, sinks=()) for each in line.destinations))


def _channels(node: LogicalNode) -> dict[str, Call | None]:
    """Where the events of each source wait."""
    return {line.label: line.channel for line in lines_of(node)}


def _deliveries(parts: Iterable[Part]) -> Iterator[Delivery]:
    for part in parts:
        yield from (part,) if isinstance(part, Delivery) else part.deliveries


def _is_clean(part: Part) -> bool:
    """It has ended with a collector that had acked everything; what was never open may have anything in it."""
    return part.opened.is_set() and all(
        each.core.is_drained and each.core.phase is Phase.STREAMING for each in _deliveries([part])
    )
