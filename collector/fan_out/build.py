"""From a logical node's sink expression to its sink."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from collector.dead_letters import Dropped
from collector.decorated import DecoratedSink
from collector.fan_out.balance import Balance
from collector.fan_out.lag import Told
from collector.fan_out.single import Single
from collector.fan_out.sink import FanOut
from qanat import registry
from qanat.chain import build_chain
from qanat.component import Context, Sink
from qanat.delivery.fan_out_sink import Branch
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.model import Branch as Parted
from qanat.flow.model import Call, LogicalNode, SinkExpression
from qanat.flow.printer import print_sink
from qanat.flow.sinks import decorated, undecorated
from qanat.flow.switching import branches, counted_once, share_of, spread


def build_sink(
    node: LogicalNode,
    context: Context,
    told: Told = lambda name, lag: None,
    dropped: Dropped = lambda reason, events: None,
) -> Sink:
    """The sink, or a fan-out of sinks, of which `told` hears how far each is behind, and `dropped` what one of them will never
    take. Raises ConfigError."""
    decorators, inner = undecorated(spread(node.sink))
    found = _counted_once(list(branches(inner)))
    is_single = len(found) == 1
    chain = build_chain(decorators, context)
    loads = None if chain is None or is_single else chain.loads
    made = [
        Branch(
            str(index),
            _component(branch.sink, branch_context(context, index)),
            branch.required or is_single,
        )
        for index, branch in enumerate(found)
    ]
    fan_out = FanOut(
        made,
        context,
        told=told,
        balance=None if loads is None else Balance(loads, _shares(decorators, inner)),
        dropped=dropped,
    )
    sink = Single(made[0].sink, fan_out, context) if is_single else fan_out
    return sink if chain is None else DecoratedSink(sink, chain, context)


def _shares(decorators: tuple[Call, ...], inner: SinkExpression) -> dict[str, int]:
    """Which branch has which share of a load that is balanced over all of them."""
    whole = branches(decorated(decorators, inner))
    return {str(index): share_of(undecorated(branch.sink)[0]) for index, branch in enumerate(whole)}


def _counted_once(found: Sequence[Parted]) -> list[Parted]:
    chains = counted_once(undecorated(each.sink)[0] for each in found)
    return [
        replace(each, sink=decorated(chain, undecorated(each.sink)[1]))
        for each, chain in zip(found, chains, strict=True)
    ]


def branch_context(context: Context, index: int) -> Context:
    """What a branch is given: as if it were a logical node of its own. The first has the node's name, so that a node that
    becomes a fan-out goes on where it was; no logical node has a name that begins with a digit."""
    if index == 0:
        return context
    name = f"{index}.{context.logical_node}"
    state_dir = context.state_dir.with_name(name)
    state_dir.mkdir(parents=True, exist_ok=True)
    return replace(context, logical_node=name, state_dir=state_dir)


def _component(expression: SinkExpression, context: Context) -> Sink:
    decorators, sink = undecorated(expression)
    if not isinstance(sink, Call):
        raise ConfigError(
            f"{print_sink(sink)} in a collector: it stores in one place, or with [ a, b ] in several"
        )
    found = registry.sink(sink.name)
    return _behind(found(bind(sink, found.Config), context), decorators, context)


def _behind(sink: Sink, decorators: Sequence[Call], context: Context) -> Sink:
    """The sink as what feeds it sees it; itself when there are no decorators."""
    chain = build_chain(decorators, context)
    return sink if chain is None else DecoratedSink(sink, chain, context)
