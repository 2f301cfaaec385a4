"""What an agent runs for a logical node: which sources, channels and destinations, under which names. [pure]"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import takewhile

from qanat.component import Full, Level
from qanat.flow.model import Call, Keyword, LogicalNode, Text
from qanat.flow.routes import Route
from qanat.flow.switching import balancing, counted_once, share_of

# Where events wait when the flow names no channel. E2E: in the source, which can be read again.
DEFAULT_CHANNELS = {
    Level.DFO: Call("spillChannel"),
    Level.BE: Call("memoryChannel", keywords=(Keyword("full", Call("drop")),)),
}

# For a source that can't be read again.
LIVE_CHANNELS = {**DEFAULT_CHANNELS, Level.E2E: Call("fileChannel")}


@dataclass(frozen=True, slots=True)
class Destination:
    """`label`: names its sender, its metrics, and its cursor in a channel. `decorators`: between the channel and it. `share`: of
    the load that is balanced."""

    label: str
    level: Level
    sinks: tuple[Call, ...]
    required: bool
    decorators: tuple[Call, ...] = ()
    share: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One instance of the source, or of the several of a fan-in, and where its events go. `label` names its state directory.
    `decorators`: right behind the source, before any channel. `intake`: what is noted of a batch when it is put into the
    channel."""

    label: str
    sources: tuple[Call, ...]
    channel: Call | None
    destinations: tuple[Destination, ...]
    decorators: tuple[Call, ...] = ()
    intake: tuple[Call, ...] = ()


def lines(
    node: LogicalNode,
    routes: tuple[Route, ...],
    level_of: Callable[[str], Level],
    is_live: Callable[[str], bool],
    consumes: Callable[[str], bool] = lambda name: False,
) -> tuple[Line, ...]:
    """A channel that the flow names is shared by all destinations. Else each has a source of its own, whose position is its
    cursor, so that none has to wait for another; but what is pushed to the node comes once, so a live source has one channel,
    that of the strongest level; and so has one that consumes what it reads, if there are several destinations: a file that one
    has stored must not be gone for the others.

    The first destination is named like the node: a flow that becomes a fan-out goes on where it was.

    Decorators that all destinations of a channel share run before it: what they remove takes no room in it. But events of a live
    source have no positions before they are in the channel.

    Load is balanced before a channel, so that what was chosen for an event stays chosen whatever becomes of the destinations."""
    is_pushed = any(is_live(source.name) for source in node.sources)
    levels = [level_of(route.sinks[0].name) for route in routes]
    choose = next(iter(balancing(routes[0].decorators)), None)
    is_consumed = len(routes) > 1 and any(consumes(source.name) for source in node.sources)
    needs_one = is_pushed or is_consumed or choose is not None
    channel = node.channel or (LIVE_CHANNELS[max(levels)] if needs_one else None)
    intake = () if choose is None else (choose,)
    shares = [0 if choose is None else share_of(route.decorators) for route in routes]
    if choose is not None:
        chosen = _chosen_first if is_pushed else _chosen
        routes = tuple(replace(route, decorators=chosen(route.decorators, choose)) for route in routes)
    shared = () if channel is None or is_pushed else _shared(routes)
    chains = counted_once(route.decorators[len(shared) :] for route in routes)
    found = tuple(
        Destination(_label(node.name, number), level, route.sinks, route.required, chain, share)
        for number, (route, level, chain, share) in enumerate(
            zip(routes, levels, chains, shares, strict=True)
        )
    )
    if channel is not None:
        return (Line(node.name, node.sources, channel, found, shared, intake),)
    return tuple(
        Line(
            each.label,
            node.sources,
            DEFAULT_CHANNELS.get(each.level),
            (replace(each, decorators=()),),
            each.decorators,
        )
        for each in found
    )


def _chosen(chain: tuple[Call, ...], choose: Call) -> tuple[Call, ...]:
    """Without the choice, which is made for all of them."""
    return tuple(call for call in chain if call is not choose)


def _chosen_first(chain: tuple[Call, ...], choose: Call) -> tuple[Call, ...]:
    """The same, and what lets only its own through before the decorators of all: they have less to do."""
    at = next(number for number, call in enumerate(chain) if call is choose)
    return (chain[at + 1], *chain[:at], *chain[at + 2 :])


def _shared(routes: tuple[Route, ...]) -> tuple[Call, ...]:
    """The decorators that all of them begin with."""
    together = zip(*(route.decorators for route in routes), strict=False)
    return tuple(each[0] for each in takewhile(lambda each: all(one == each[0] for one in each), together))


def weakened(line: Line, keeps: Level) -> Iterator[str]:
    """A sentence for each destination that is promised more than the line's channel keeps."""
    assert line.channel is not None
    drops = any(
        each.name == "full" and isinstance(each.value, Call | Text) and _name(each.value) == Full.DROP.value
        for each in line.channel.keywords
    )
    for each in line.destinations:
        if each.level is Level.E2E and drops:
            yield (
                f"{line.label} promises E2E to {each.sinks[0].name}, and {line.channel.name} drops what it has no room for. "
                "Write full=block, or a sink of level BE if that will do."
            )
        if each.level > keeps:
            yield (
                f"{line.label} promises {each.level.name} to {each.sinks[0].name}, and {line.channel.name} keeps only "
                f"{keeps.name}: events that wait in it are lost when this agent dies. Write {_instead(each.level)}, "
                f"or a sink of level {keeps.name} if that will do."
            )


def _name(value: Call | Text) -> str:
    return value.name if isinstance(value, Call) else value.value


def _instead(level: Level) -> str:
    if level is Level.E2E:
        return "no channel (the source is read again) or fileChannel"
    return "spillChannel or fileChannel"


def _label(name: str, number: int) -> str:
    return f"{name}#{number}" if number else name
