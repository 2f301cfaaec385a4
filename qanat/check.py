"""Whether a flow can run: every fault of a text, against the components that are installed, before anything is stored or
started. Nothing is opened, connected or written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from qanat import registry
from qanat.component import Component, Context
from qanat.errors import ConfigError
from qanat.flow.bind import argument_place, bind
from qanat.flow.faults import Faults
from qanat.flow.model import Call, Failover, Flow, LogicalNode, Switch
from qanat.flow.printer import print_sink
from qanat.flow.routes import routes
from qanat.flow.sinks import calls, decorators, expressions, undecorated
from qanat.flow.switching import branches
from qanat.flow.tiers import MIXED, Names, Tier, tier_of

Find = Callable[[str], type[Component]]


def check(text: str, path: str = "<flow>") -> Flow:
    """The flow that `text` describes, as it was written. Raises FlowError with all of its faults.

    What it finds: syntax, unknown components, arguments of the wrong type, unit or value, sources that can't feed their
    sinks, and what no program runs.
    """
    from qanat.flow.flume import translate  # an agent checks nodes that are parsed, and does without
    from qanat.flow.parser import parse_into

    faults = Faults()
    flow = parse_into(faults, text, path)
    names = installed_names()
    for node in flow.nodes:
        if faults.are_too_many:
            break
        _check(translate(node, takes_roll, faults), names, faults)
    faults.raise_if_any()
    return flow


def check_nodes(nodes: Iterable[LogicalNode]) -> None:
    """The same for logical nodes without Flume OG's forms. Raises FlowError."""
    faults = Faults()
    names = installed_names()
    for node in nodes:
        _check(node, names, faults)
    faults.raise_if_any()


def installed_names() -> Names:
    """What components are installed."""
    return Names(
        sources=registry.names(registry.SOURCES),
        sinks=registry.names(registry.SINKS),
        agent_sinks=registry.names(registry.AGENT_SINKS),
        collector_sources=registry.names(registry.COLLECTOR_SOURCES),
        channels=registry.names(registry.CHANNELS),
        decorators=registry.names(registry.DECORATORS),
    )


def takes_roll(name: str) -> bool:
    """Whether the sink `name` has an argument `roll`. True when there is no such sink, which is found elsewhere."""
    if name in registry.names(registry.AGENT_SINKS):
        return False
    try:
        config = registry.sink(name).Config
    except ConfigError:
        return True
    return any(field.encode_name == "roll" for field in msgspec.structs.fields(config))


def _check(node: LogicalNode, names: Names, faults: Faults) -> None:
    own = Faults()
    tier = tier_of(node, names, own)
    for call, find in _components(node, names):
        _check_component(node, call, find, own)
    for part in expressions(node.sink):
        if isinstance(part, Switch):
            _check_switch(part, own)
    if len(node.sources) > 1 and not own and len({registry.is_live(each.name) for each in node.sources}) > 1:
        own.add(node.sources[1].place, MIXED)
    if tier is not None and not own:
        _check_sinks_together(node, tier, own)
    faults.extend(own)


def _components(node: LogicalNode, names: Names) -> Iterator[tuple[Call, Find]]:
    """Those that exist."""
    for call in node.sources:
        if call.name in names.sources:
            yield call, registry.source
        elif call.name in names.collector_sources:
            yield call, registry.collector_source
    if node.channel is not None and node.channel.name in names.channels:
        yield node.channel, registry.channel
    for call in calls(node.sink):
        if call.name in names.agent_sinks:
            yield call, registry.agent_sink
        elif call.name in names.sinks:
            yield call, registry.sink
    for call in decorators(node.sink):
        if call.name in names.decorators:
            yield call, registry.decorator


def _check_component(node: LogicalNode, call: Call, find: Find, faults: Faults) -> None:
    """A component that is built, but not opened, touches nothing."""
    context = Context(physical_node="check", logical_node=node.name, host="check", state_dir=Path("check"))
    try:
        component = find(call.name)
        config = bind(call, component.Config)
    except ConfigError as error:
        faults.add_error(error, call.place)
        return
    found = list(component.check(config))
    for wrong in found:
        place = argument_place(call, component.Config, wrong.argument)
        faults.add(place, f"{call.name}, {wrong.argument}: {wrong.why}", wrong.conceals)
    if found:
        return  # a component may rely on what it has checked
    try:
        component(config, context)
    except ConfigError as error:
        for fault in error.faults:  # many begin with the argument that they are about
            place = argument_place(call, component.Config, fault.partition(" ")[0])
            faults.add(place, f"{call.name}: {fault}")


def _check_switch(switch: Switch, faults: Faults) -> None:
    from qanat import escapes  # with its time zones: most agents have no switch

    text = switch.on.value
    try:
        pieces = escapes.parse(text, "switch", with_body=True)
    except ConfigError as error:
        faults.add_error(error, switch.on.place)
        return
    if all(isinstance(piece, escapes.Literal) for piece in pieces):
        name = text or "name"
        faults.add(
            switch.on.place, f'switch: "{text}" is the same for every event; an attribute is "%{{{name}}}"'
        )


def _check_sinks_together(node: LogicalNode, tier: Tier, faults: Faults) -> None:
    try:
        if tier is Tier.AGENT:
            routes(node.sink, registry.general_form)
            return
        found = list(branches(node.sink))
    except ConfigError as error:
        faults.add_error(error, node.sink.place)
        return
    if any(isinstance(undecorated(branch.sink)[1], Failover) for branch in found):
        faults.add(
            node.sink.place,
            f"{print_sink(node.sink)}: a failover is for an agent's collectors; a collector stores in one place, or with "
            "[ a, b ] in several",
        )
