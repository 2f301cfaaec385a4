"""Flows of every shape that the model has, for property tests."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from qanat.flow.model import (
    DEFAULT_FLOW,
    Boolean,
    Branch,
    Call,
    Case,
    Decorated,
    Duration,
    Failover,
    FanOut,
    Flow,
    Integer,
    Items,
    Keyword,
    LogicalNode,
    Real,
    Rolled,
    SinkExpression,
    Size,
    Switch,
    Text,
    Value,
)
from qanat.flow.selectors import Operator, Requirement, Selector
from qanat.flow.units import DURATION_NS, SIZE_BYTES

# Generating is what takes time here, so names are drawn from few, and values nest two deep.
names = st.builds(
    str.__add__,
    st.sampled_from(["a", "_", "true", "falsehood", "let"]),
    st.sampled_from(["x", "-1", ".b_", "2"]),
)
# Keywords are names where they can't be meant.
words = names | st.sampled_from(["flow", "else", "in", "notin", "switch", "roll", "collector", "let"])
amounts = st.decimals(0, 10**9, places=3, allow_nan=False) | st.integers(0, 10**9).map(Decimal)
scalars: st.SearchStrategy[Value] = st.one_of(
    st.text().map(Text),
    st.integers(-(1 << 63), (1 << 63) - 1).map(Integer),
    st.floats(allow_nan=False, allow_infinity=False).map(Real),
    st.booleans().map(Boolean),
    st.builds(Duration, amounts, st.sampled_from(sorted(DURATION_NS))),
    st.builds(Size, amounts, st.sampled_from(sorted(SIZE_BYTES))),
)


def _calls(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Call]:
    keywords = st.lists(st.builds(Keyword, words, values), max_size=2, unique_by=lambda k: k.name)
    return st.builds(Call, names, st.lists(values, max_size=2).map(tuple), keywords.map(tuple))


def _nested(inner: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    return inner | st.lists(inner, max_size=2).map(lambda v: Items(tuple(v))) | _calls(inner)


components = _calls(_nested(_nested(scalars)))
short = st.builds(Call, names, st.sampled_from([(), (Integer(1),)]))


@st.composite
def sinks(draw: st.DrawFn, depth: int = 3) -> SinkExpression:
    """A sink expression of any kind."""
    kind = draw(st.sampled_from("cfodrs")) if depth else "c"
    if kind == "c":
        return draw(short)
    if kind == "d":
        inner = draw(sinks(depth - 1))
        if isinstance(inner, Decorated):  # that would be one chain
            inner = inner.sink
        return Decorated(tuple(draw(st.lists(short, min_size=1, max_size=2))), inner)
    if kind == "r":
        roll = Call(draw(st.sampled_from(["roll", "collector"])), (draw(scalars),))
        return Rolled(roll, draw(sinks(depth - 1)))
    parts = [draw(sinks(depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    if kind == "o":
        return Failover(tuple(parts))
    branches = [Branch(part, _has_a_first(part) and draw(st.booleans())) for part in parts]
    if kind == "f":
        return FanOut(tuple(branches))
    *cases, last = branches
    values = draw(st.lists(st.text(max_size=3), min_size=len(cases), max_size=len(cases), unique=True))
    return Switch(
        Text(draw(st.text(max_size=3))),
        tuple(Case(Text(value), case) for value, case in zip(values, cases, strict=True)),
        last,
    )


def _has_a_first(sink: SinkExpression) -> bool:
    """Whether it can be required as a whole."""
    match sink:
        case Failover():
            return _has_a_first(sink.sinks[0])
        case Decorated() | Rolled():
            return _has_a_first(sink.sink)
        case _:
            return isinstance(sink, Call)


label_values = st.sampled_from(["web", "a b", "", "1.2", "07", "else", "true", "1.2.3.4", "é\n", "-1", "2nd"])
requirements = st.one_of(
    st.builds(Requirement, words, st.sampled_from([Operator.EXISTS, Operator.MISSING])),
    st.builds(Requirement, words, st.sampled_from([Operator.IS, Operator.IS_NOT]), st.tuples(label_values)),
    st.builds(
        Requirement,
        words,
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.lists(label_values, min_size=1, max_size=3).map(tuple),
    ),
)
selectors = st.lists(requirements, min_size=1, max_size=3).map(lambda r: Selector(tuple(r)))

nodes = st.builds(
    LogicalNode,
    words | st.just("10.0.0.1"),
    st.lists(components, min_size=1, max_size=3).map(tuple),
    components | sinks(),
    st.none() | components,
    st.none() | selectors,
    st.sampled_from([DEFAULT_FLOW, "audit", "flow"]),
)
flows = st.lists(nodes, max_size=4, unique_by=lambda n: n.name).map(lambda n: Flow(tuple(n)))
