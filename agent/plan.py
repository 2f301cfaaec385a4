"""What an agent runs for a logical node: which sources, channels and destinations, under which names. [pure]"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qanat.component import Full, Level
from qanat.flow.model import Call, Keyword, LogicalNode, Text
from qanat.flow.routes import Route

# Where events wait when the flow names no channel. E2E: in the source, which can be read again.
DEFAULT_CHANNELS = {
    Level.DFO: Call("spillChannel"),
    Level.BE: Call("memoryChannel", keywords=(Keyword("full", Call("drop")),)),
}


@dataclass(frozen=True, slots=True)
class Destination:
    """`label`: names its sender, its metrics, and its cursor in a channel."""

    label: str
    level: Level
    sinks: tuple[Call, ...]
    required: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One instance of the source, and where its events go. `label` names its state directory."""

    label: str
    source: Call
    channel: Call | None
    destinations: tuple[Destination, ...]


def lines(node: LogicalNode, routes: tuple[Route, ...], level_of: Callable[[str], Level]) -> tuple[Line, ...]:
    """A channel that the flow names is shared by all destinations. Else each has a source of its own, whose position is its
    cursor, so that none has to wait for another.

    The first destination is named like the node: a flow that becomes a fan-out goes on where it was."""
    found = tuple(
        Destination(_label(node.name, number), level_of(route.sinks[0].name), route.sinks, route.required)
        for number, route in enumerate(routes)
    )
    if node.channel is not None:
        return (Line(node.name, node.source, node.channel, found),)
    return tuple(Line(each.label, node.source, DEFAULT_CHANNELS.get(each.level), (each,)) for each in found)


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
