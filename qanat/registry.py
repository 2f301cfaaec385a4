"""Finding components by the name that flows use, through entry points; only what is asked for is imported.

A component is one line of a distribution's metadata, ours as well as a third party's:

    [project.entry-points."qanat.sources"]
    tail = "agent.sources.tail:Tail"
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import metadata
from typing import Any, TypeVar

from qanat.component import (
    AgentSink,
    Channel,
    CollectorSource,
    Component,
    LiveSource,
    Sink,
    Source,
)
from qanat.decorator import Decorator
from qanat.errors import ConfigError
from qanat.flow.faults import did_you_mean
from qanat.flow.model import Call, SinkExpression

SOURCES = "qanat.sources"
CHANNELS = "qanat.channels"
DECORATORS = "qanat.decorators"
SINKS = "qanat.sinks"
AGENT_SINKS = "qanat.agent_sinks"
COLLECTOR_SOURCES = "qanat.collector_sources"
COMMANDS = "qanat.commands"

C = TypeVar("C", bound=Component)


def names(group: str) -> list[str]:
    """The names of a group (`SOURCES`, ...), sorted; nothing is imported."""
    return sorted({entry.name for entry in entries(group)})


def entries(group: str) -> Iterable[metadata.EntryPoint]:
    """The entry points of a group."""
    return _entries(group)


@functools.cache
def _entries(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Read once: each reading opens the metadata of every installed distribution, some milliseconds."""
    return tuple(_all_entries().select(group=group))


@functools.cache
def _all_entries() -> Any:
    return metadata.entry_points()


def source(name: str) -> type[Source] | type[LiveSource]:
    """The source that flows call `name`. Raises ConfigError when there is none, or it can't be imported."""
    return _component(SOURCES, "source", name, Source, LiveSource)


def is_live(name: str) -> bool:
    """Whether events are pushed to the source of this name, and so can't be read again. Raises ConfigError."""
    return issubclass(source(name), LiveSource)


def consumes(name: str) -> bool:
    """Whether what the source of this name has read is gone for others once it is stored. Raises ConfigError."""
    kind = source(name)
    return issubclass(kind, Source) and kind.consumes


def channel(name: str) -> type[Channel]:
    """The channel that flows call `name`. Raises ConfigError when there is none, or it can't be imported."""
    return _component(CHANNELS, "channel", name, Channel)  # type: ignore[type-abstract]


def decorator(name: str) -> type[Decorator]:
    """The decorator that flows call `name`. Raises ConfigError when there is none, or it can't be imported."""
    return _component(DECORATORS, "decorator", name, Decorator)  # type: ignore[type-abstract]


def sink(name: str) -> type[Sink]:
    """The sink that flows call `name`. Raises ConfigError when there is none, or it can't be imported."""
    return _component(SINKS, "sink", name, Sink)  # type: ignore[type-abstract]


def agent_sink(name: str) -> type[AgentSink]:
    """The agent's sink that flows call `name`. Raises ConfigError when there is none, or it can't be imported."""
    return _component(AGENT_SINKS, "agent sink", name, AgentSink)  # type: ignore[type-abstract]


def general_form(call: Call) -> SinkExpression:
    """What an agent's sink stands for: `agentE2EChain("c1", "c2")` is a failover. Raises ConfigError."""
    return agent_sink(call.name).general_form(call)


def collector_source(name: str) -> type[CollectorSource]:
    """The collector's source that flows call `name`. Raises ConfigError when there is none, or it can't be imported."""
    return _component(COLLECTOR_SOURCES, "collector source", name, CollectorSource)  # type: ignore[type-abstract]


def _component(group: str, kind: str, name: str, base: type[C], *or_else: type[Component]) -> type[C]:
    entry = _entry(group, kind, name)
    try:
        found = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f'the {kind} "{name}" ({entry.value}) could not be imported: {error}; '
            "install what it needs, perhaps an extra of its distribution"
        ) from error
    if not _usable(found, (base, *or_else)):
        raise ConfigError(
            f'the {kind} "{name}" ({entry.value}) is not a subclass of {base.__module__}.{base.__name__} '
            "with a Config; its author has to change that"
        )
    return found  # type: ignore[no-any-return]


def _usable(found: Any, bases: tuple[type[Component], ...]) -> bool:
    return isinstance(found, type) and issubclass(found, bases) and hasattr(found, "Config")


def _entry(group: str, kind: str, name: str) -> metadata.EntryPoint:
    # A distribution may be on the path twice (installed, and its checkout): the same target is no conflict.
    found = {entry.value: entry for entry in entries(group) if entry.name == name}
    if not found:
        known = names(group)
        hint = did_you_mean(name, known)
        raise ConfigError(f'there is no {kind} "{name}"{hint}; there are: {", ".join(known) or "none"}')
    if len(found) > 1:
        targets = ", ".join(sorted(found))
        raise ConfigError(f'the {kind} "{name}" is provided twice ({targets}): uninstall all but one')
    return next(iter(found.values()))
