"""From an agent's sink expression to its destinations: each a chain of collectors to try in turn. [pure]

The names for convenience (`agentE2EChain("c1", "c2")`) translate to the general form, `< agentE2ESink("c1") ?
agentE2ESink("c2") >`; the components know how (`AgentSink.general_form`). Fan-out is flat then, failover too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from qanat.errors import ConfigError
from qanat.flow.faults import Faults
from qanat.flow.model import Call, Decorated, Failover, SinkExpression
from qanat.flow.printer import print_sink
from qanat.flow.sinks import calls, undecorated, with_calls, with_parts
from qanat.flow.switching import balancing, branches

GeneralForm = Callable[[Call], SinkExpression]


@dataclass(frozen=True, slots=True)
class Route:
    """One destination: sinks of one component, to be tried in turn. `required`: the other routes wait for it.

    `decorators`: that stand before it, those of fan-outs around it first."""

    sinks: tuple[Call, ...]
    required: bool = False
    decorators: tuple[Call, ...] = ()


def generalise(sink: SinkExpression, general_form: GeneralForm) -> SinkExpression:
    """The expression in the general form, with failovers within failovers made one. Raises ConfigError."""
    return _flat(with_calls(sink, general_form))


def routes(sink: SinkExpression, general_form: GeneralForm) -> tuple[Route, ...]:
    """Every destination of the expression, in its order. Raises ConfigError with what an agent can't do."""
    faults = Faults()
    found = []
    for branch in branches(generalise(sink, general_form)):
        heads, chain = undecorated(branch.sink)
        _refuse_mixture(chain, faults)
        found.append(Route(tuple(calls(chain)), branch.required, heads))
    faults.raise_if_any()
    return _balanced(tuple(found), sink)


def _balanced(found: tuple[Route, ...], sink: SinkExpression) -> tuple[Route, ...]:
    """Where load is balanced over single sinks, each is followed by the others, beginning with the next."""
    chosen = {id(call) for route in found for call in balancing(route.decorators)}
    if not chosen:
        return found
    if len(chosen) > 1 or not all(balancing(route.decorators) for route in found):
        raise ConfigError(
            "on an agent loadBalance is for all destinations of a logical node: loadBalance [ a, b ]; it can't be in a branch "
            "of a fan-out or in a case",
            place=getattr(sink, "place", None),
        )
    if len({route.sinks[0].name for route in found}) > 1 or any(len(route.sinks) > 1 for route in found):
        return found
    sinks = tuple(route.sinks[0] for route in found)
    return tuple(replace(route, sinks=sinks[at:] + sinks[:at]) for at, route in enumerate(found))


def _flat(sink: SinkExpression) -> SinkExpression:
    if not isinstance(sink, Failover):
        return with_parts(sink, _flat)
    flat: list[SinkExpression] = []
    for each in map(_flat, sink.sinks):
        flat += each.sinks if isinstance(each, Failover) else [each]
    return flat[0] if len(flat) == 1 else Failover(tuple(flat), sink.place)


def _refuse_mixture(sink: SinkExpression, faults: Faults) -> None:
    alternatives = sink.sinks if isinstance(sink, Failover) else (sink,)
    parts = [each for each in alternatives if isinstance(each, Call)]
    inner = next((each for each in alternatives if isinstance(each, Decorated)), None)
    if inner is not None:
        names = " ".join(each.name for each in inner.decorators)
        faults.add(
            inner.place,
            f"decorators ({names}) within a failover: whichever collector takes the events, they are the same events; write the "
            f"decorators before it, {names} {print_sink(Failover(tuple(undecorated(each)[1] for each in alternatives)))}",
        )
        return
    if len(parts) < len(alternatives):
        faults.add(
            sink.place,
            "a failover on an agent holds single sinks; a fan-out goes around failovers: [ < a ? b >, < c ? d > ]",
        )
        return
    for part in parts[1:]:
        if part.name != parts[0].name:
            alike = Failover(tuple(Call(parts[0].name, each.positional, each.keywords) for each in parts))
            faults.add(
                part.place,
                f"a failover is one promise: {part.name} can't take over from {parts[0].name}; write "
                f"{print_sink(alike)}, or [{parts[0].name}(...), {part.name}(...)] to send to both",
            )
