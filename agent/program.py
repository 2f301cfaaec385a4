"""The agent's composition root: builds what delivers the events of a logical node."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from agent import abreast, home
from agent.abreast import Pace
from agent.channelled import Channelled, Deliver
from agent.chosen import Chosen
from agent.dealer import Dealer, Share, dealer_of
from agent.dealt import Dealt
from agent.decorated import DecoratedSource
from agent.delivery import Delivery
from agent.fan_in import FanIn, LiveFanIn, directory
from agent.feed import Feed
from agent.losses import Losses
from agent.plan import Destination, Line, lines, weakened
from agent.pushed import PushedFeed
from agent.summed import Summed
from qanat import registry
from qanat.chain import Chain, build_chain
from qanat.component import Context, Cursor, Level, LiveSource, Source
from qanat.control.sampling import TapPoints
from qanat.delivery.sender import SenderCore
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.model import Call, LogicalNode
from qanat.flow.routes import routes
from qanat.flow.tiers import MIXED
from qanat.loads import Member
from qanat.metrics import Metrics
from qanat.throttle import Throttles

Running = Delivery | Channelled | Dealt

log = structlog.get_logger(__name__)

CHANNEL_DIRECTORY = "channel"  # within the state directory of the source, whose files have names with a dot


@dataclass(frozen=True, slots=True)
class _Sending:
    """`instance`: of the process. `moves`: see `agent.home`."""

    instance: str
    moves: int

    def sender(self, agent: str, label: str) -> str:
        """By which name collectors know it."""
        return f"{agent}/{label}~{self.moves}" if self.moves else f"{agent}/{label}"


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent process: `name` is unique in the cluster, `state_dir` is private to it."""

    name: str
    state_dir: Path
    metrics: Metrics
    taps: TapPoints = field(default_factory=TapPoints)
    throttles: Throttles = field(default_factory=Throttles)

    def build(self, node: LogicalNode, instance: str, *, to_open: bool = True) -> list[Running]:
        """A delivery for each source, or what feeds a channel and delivers from it; nothing is opened.

        `instance`: of the process. `to_open`: it will be; else this is to see whether it can be built. Raises ConfigError, and
        OSError where state can't be kept."""
        planned = lines_of(node)
        together = abreast.paces([line.destinations[0].required for line in planned], abreast.WINDOW_BYTES)
        return [
            self._line(line, _Sending(instance, self._moved(line, to_open)), pace)
            for line, pace in zip(planned, together, strict=True)
        ]

    def former(self, node: LogicalNode) -> LogicalNode | None:
        """The node as it was with another channel, or none, that may still have something to deliver."""
        for line in lines_of(node):
            found = home.former(self.state_dir / line.label, line.channel)
            if found is not None and not forgets(found.channel):
                return replace(node, channel=found.channel)
        return None

    def _moved(self, line: Line, to_open: bool) -> int:
        directory = self.state_dir / line.label
        directory.mkdir(parents=True, exist_ok=True)
        return home.moved(directory, line.channel, moves_in=to_open)

    def _line(self, line: Line, sending: _Sending, pace: Pace | None) -> Running:
        context = self._context(line.label, self.state_dir / line.label)
        losses = Losses(context, self.metrics.agent(line.label))
        source = _source(line, replace(context, count=losses.count))
        if (dealer := dealer_of(source, _not_dealt(line, pace), line.label)) is not None:
            return self._dealt(line, dealer, context)
        if line.channel is not None:
            return self._channelled(line, line.channel, source, context, losses, sending, pace)
        assert isinstance(source, Source), "agent.plan gives every live source a channel"
        (destination,) = line.destinations
        behind = _behind(source, line.decorators, context)
        return self._delivery(destination, context, sending, of_channel=False, pace=pace)(behind)

    def _dealt(self, line: Line, dealer: Dealer, context: Context) -> Dealt:
        """Each share has a sender of its own, and every time that it is dealt it is to collectors a new process of that name."""
        (destination,) = line.destinations
        measured = Summed(self.metrics, line.label)
        tap = self.taps.at(line.label)
        build_chain(line.decorators, context)  # what is wrong with them is found now

        def deliver(share: Share, source: Source, chain: tuple[str, ...]) -> Delivery:
            core = SenderCore(share.sender, uuid.uuid4().hex, chain)
            behind = _behind(source, line.decorators, context)
            return Delivery(core, behind, context, measured.of(share.name), None, tap)

        return Dealt(dealer, deliver, self._chain(destination, context), line.label)

    def _channelled(
        self,
        line: Line,
        call: Call,
        source: Source | LiveSource,
        context: Context,
        losses: Losses,
        sending: _Sending,
        pace: Pace | None,
    ) -> Channelled:
        metrics = self.metrics.agent(line.label)
        channel_context = self._context(line.label, self.state_dir / line.label / CHANNEL_DIRECTORY)
        channel_type = registry.channel(call.name)
        channel = channel_type(bind(call, channel_type.Config), replace(channel_context, count=losses.count))
        for warning in weakened(line, channel.keeps):
            log.warning("promise_weakened", reason=warning)
        several = len(line.destinations) > 1
        cursors = [Cursor(each.label, each.required or not several) for each in line.destinations]
        deliver = [
            self._delivery(each, replace(context, logical_node=each.label), sending, of_channel=True)
            for each in line.destinations
        ]
        if (intake := build_chain(line.intake, context)) is not None:
            shares = {each.label: each.share for each in line.destinations}
            channel = chosen = Chosen(channel, intake, channel_context, shares)
            deliver = [
                _watched(each, chosen.member(cursor.name))
                for each, cursor in zip(deliver, cursors, strict=True)
            ]
        tap = self.taps.at(line.label)
        feed: Feed | PushedFeed
        if isinstance(source, LiveSource):
            feed = PushedFeed(source, channel, cursors, context, metrics, tap)
        else:
            behind = _behind(source, line.decorators, context)
            feed = Feed(behind, channel, cursors, context, metrics, pace, tap)
        return Channelled(feed, deliver, losses)

    def _delivery(
        self,
        destination: Destination,
        context: Context,
        sending: _Sending,
        *,
        of_channel: bool,
        pace: Pace | None = None,
    ) -> Deliver:
        core = SenderCore(
            sending.sender(self.name, destination.label),
            sending.instance,
            self._chain(destination, context),
            ack_on_receipt=destination.level < Level.E2E,
        )
        metrics = self.metrics.agent(destination.label, of_channel=of_channel)
        tap = None if of_channel else self.taps.at(destination.label)
        build_chain(destination.decorators, context)  # what is wrong with them is found now
        return lambda source: Delivery(
            core, _behind(source, destination.decorators, context), context, metrics, pace, tap
        )

    def chain_of(self, destination: Destination) -> tuple[str, ...]:
        """`host:port` of each of its collectors."""
        return self._chain(destination, self._context(destination.label, self.state_dir / destination.label))

    def _chain(self, destination: Destination, context: Context) -> tuple[str, ...]:
        """`host:port` of each collector, each once."""
        chain: dict[str, None] = {}
        for call in destination.sinks:
            sink_type = registry.agent_sink(call.name)
            sink = sink_type(bind(call, sink_type.Config), context)
            chain.update(dict.fromkeys(sink.destinations()))
        return tuple(chain)

    def _context(self, label: str, directory: Path) -> Context:
        directory.mkdir(parents=True, exist_ok=True)
        return Context(
            physical_node=self.name,
            logical_node=label,
            host=socket.gethostname(),
            state_dir=directory,
            count=self.metrics.counts(label),
            throttles=self.throttles,
            metrics=self.metrics.render,
        )


def lines_of(node: LogicalNode) -> tuple[Line, ...]:
    """What it reads, and the ways from there."""
    return lines(
        node,
        routes(node.sink, registry.general_form),
        lambda name: registry.agent_sink(name).level,
        registry.is_live,
        registry.consumes,
    )


def forgets(channel: Call | None) -> bool:
    """What waits in it is lost with the process anyway, and so promised to nobody."""
    return channel is not None and registry.channel(channel.name).keeps is Level.BE


def _not_dealt(line: Line, pace: Pace | None) -> str:
    """Why what the line reads can't be dealt out among agents; "" if it can."""
    if line.channel is not None:
        return f"what waits in {line.channel.name} would be stored a second time by the next agent that has the partition"
    if pace is not None:
        return "a destination that is required is waited for, and has other partitions here than the others"
    return ""


def _source(line: Line, context: Context) -> Source | LiveSource:
    made = [_single(call, context, index) for index, call in enumerate(line.sources)]
    if len(made) == 1:
        return made[0]
    live = [each for each in made if isinstance(each, LiveSource)]
    replayable = [each for each in made if isinstance(each, Source)]
    if live and replayable:
        raise ConfigError(MIXED)
    return LiveFanIn(live, context) if live else FanIn(replayable, context)


def _single(call: Call, context: Context, index: int) -> Source | LiveSource:
    source_type = registry.source(call.name)
    state_dir = context.state_dir / directory(index)
    state_dir.mkdir(parents=True, exist_ok=True)
    return source_type(bind(call, source_type.Config), replace(context, state_dir=state_dir))


def _behind(source: Source, decorators: Sequence[Call], context: Context) -> Source:
    """The source as those behind its decorators see it; without any it is the same, in batches that are not too large."""
    chain = build_chain(decorators, context) or Chain((), context)
    return DecoratedSource(source, chain, context)


def _watched(deliver: Deliver, member: Member | None) -> Deliver:
    """The same; `member` knows then how the delivery is doing."""

    def watched(source: Source) -> Delivery:
        delivery = deliver(source)
        if member is not None:
            member.state = lambda: delivery.core.trouble
        return delivery

    return watched
