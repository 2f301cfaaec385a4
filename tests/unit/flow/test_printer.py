"""Printing and parsing again gives the same model."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from qanat.flow.model import (
    Boolean,
    Call,
    Duration,
    Flow,
    Integer,
    Items,
    Keyword,
    LogicalNode,
    Real,
    Size,
    Text,
    Value,
)
from qanat.flow.parser import parse, parse_component
from qanat.flow.printer import print_flow, print_value
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
nodes = st.builds(LogicalNode, names, calls(values), calls(values), st.none() | calls(values))
flows = st.lists(nodes, max_size=3, unique_by=lambda n: n.name).map(lambda n: Flow(tuple(n)))


@given(flows)
def test_parse_returns_what_was_printed(flow: Flow) -> None:
    assert parse(print_flow(flow)) == flow


def test_print_keeps_units_and_escapes_as_a_user_would_write_them() -> None:
    text = r'file("a\n\"é\u0000", 90s, 1.5h, 64MiB, [true, 2], roll=f)'
    assert print_value(parse_component(text)) == text
