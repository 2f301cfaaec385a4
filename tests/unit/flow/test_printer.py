"""Printing and parsing again gives the same model."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from qanat.flow.model import (
    Boolean,
    Branch,
    Call,
    Duration,
    Failover,
    FanOut,
    Flow,
    Integer,
    Items,
    Keyword,
    LogicalNode,
    Real,
    SinkExpression,
    Size,
    Text,
    Value,
)
from qanat.flow.parser import parse, parse_component
from qanat.flow.printer import print_flow, print_sink, print_value
from qanat.flow.units import DURATION_NS, SIZE_BYTES

# Generating is what takes time here, so names are drawn from few, and values nest two deep.
names = st.builds(
    str.__add__, st.sampled_from(["a", "_", "true", "falsehood"]), st.sampled_from(["x", "-1", ".b_", "2"])
)
amounts = st.decimals(0, 10**9, places=3, allow_nan=False) | st.integers(0, 10**9).map(Decimal)
scalars: st.SearchStrategy[Value] = st.one_of(
    st.text().map(Text),
    st.integers(-(1 << 63), (1 << 63) - 1).map(Integer),
    st.floats(allow_nan=False, allow_infinity=False).map(Real),
    st.booleans().map(Boolean),
    st.builds(Duration, amounts, st.sampled_from(sorted(DURATION_NS))),
    st.builds(Size, amounts, st.sampled_from(sorted(SIZE_BYTES))),
)


def calls(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Call]:
    keywords = st.lists(st.builds(Keyword, names, values), max_size=2, unique_by=lambda k: k.name)
    return st.builds(Call, names, st.lists(values, max_size=2).map(tuple), keywords.map(tuple))


def nested(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return inner | st.lists(inner, max_size=2).map(lambda v: Items(tuple(v))) | calls(inner)


values = nested(nested(scalars))
components = calls(values)


@st.composite
def sinks(draw: st.DrawFn, depth: int = 2) -> SinkExpression:
    """A component, a fan-out or a failover; a fan-out within a fan-out is never required as a whole."""
    kind = draw(st.sampled_from("cfo")) if depth else "c"
    if kind == "c":
        return Call(draw(names), (Integer(1),) if draw(st.booleans()) else ())
    parts = [draw(sinks(depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    if kind == "o":
        return Failover(tuple(parts))
    return FanOut(tuple(Branch(part, has_a_first(part) and draw(st.booleans())) for part in parts))


def has_a_first(sink: SinkExpression) -> bool:
    if isinstance(sink, Failover):
        return has_a_first(sink.sinks[0])
    return isinstance(sink, Call)


nodes = st.builds(LogicalNode, names, components, components | sinks(), st.none() | components)
flows = st.lists(nodes, max_size=3, unique_by=lambda n: n.name).map(lambda n: Flow(tuple(n)))


@given(flows)
def test_parse_returns_what_was_printed(flow: Flow) -> None:
    assert parse(print_flow(flow)) == flow


def test_print_keeps_units_and_escapes_as_a_user_would_write_them() -> None:
    text = r'file("a\n\"é\u0000", 90s, 1.5h, 64MiB, [true, 2], roll=f)'
    assert print_value(parse_component(text)) == text


def test_print_writes_sink_expressions_as_a_user_would() -> None:
    text = '[< a("c1", required=true) ? b >, [c, d(1)], < < e ? f > ? [g] >]'
    assert print_sink(parse(f"x : s | {text} ;").nodes[0].sink) == text
