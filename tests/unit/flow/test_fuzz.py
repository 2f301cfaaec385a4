"""Whatever is parsed gives a flow or ConfigError, at a place of the text, in time that grows with its length."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qanat.errors import ConfigError
from qanat.flow.faults import FAULTS_MAX, FlowError
from qanat.flow.layout import layout
from qanat.flow.model import Flow
from qanat.flow.parser import parse, parse_component
from qanat.flow.printer import print_flow
from tests.unit.flow.generated import flows

TOKENS = [
    *[
        ":",
        "|",
        ";",
        ",",
        "?",
        "@",
        "!",
        "=",
        "!=",
        "=>",
        "(",
        ")",
        "[",
        "]",
        "<",
        ">",
        "{",
        "}",
        "//",
        "/*",
        "*/",
        "#",
        "\n",
        '"',
        "\\",
        ".5",
        "-1",
        "0x1F",
        "09",
        "10m",
        "1.2.3.4",
        "é",
        "$",
        "\r\n",
    ],
    *[
        "flow",
        "else",
        "in",
        "notin",
        "switch",
        "roll",
        "collector",
        "true",
        "false",
        "let",
        "required",
        "a",
        "b",
        "tail",
    ],
    '"text"',
    '"\\u00e9"',
    '"\\q"',
    "a : b | c ;",
    "flow x {",
]
soup = st.lists(st.sampled_from(TOKENS), max_size=40).map(" ".join)
mutations = st.tuples(flows.map(print_flow), st.integers(0), st.integers(0), st.sampled_from(TOKENS))


def mutated(parts: tuple[str, int, int, str]) -> str:
    """A valid text with a token in the place of a stretch of it."""
    text, start, length, token = parts
    start %= len(text) + 1
    return text[:start] + token + text[start + length % 5 :]


@given(st.text() | st.text(alphabet='ab:|;()[]<>{}?@!",=\\/*# \n01.5sMé') | soup | mutations.map(mutated))
@example("flow f { a : b | c\nd : e | f ; }")
@example("flo x { } }")
@example("a : b | { c => d } { e => f } ;")
@example('a : b | switch("x") { "a" => b, "a" => c, else => d, else => e, } ;')
def test_parse_of_anything_gives_a_flow_or_faults_in_the_text(text: str) -> None:
    try:
        flow = parse(text)
    except FlowError as error:
        lines = text.split("\n")
        for fault in error.found:
            assert 1 <= fault.place.line <= len(lines)
            assert 1 <= fault.place.column <= len(lines[fault.place.line - 1]) + 1
        return
    assert parse(print_flow(flow)) == flow
    assert parse(layout(text)) == flow


@given(st.text() | soup)
def test_parse_component_of_anything_gives_a_component_or_faults(text: str) -> None:
    try:
        parsed = parse_component(text)
    except ConfigError:
        return
    assert parse(f"a : {text}\n| b ;").nodes[0].sources == (parsed,)


LENGTH = 200_000


@pytest.mark.parametrize(
    ("unit", "faults"),
    [
        ("$ ", 1),
        ('"', 1),
        ('"a\n', 1),
        ("/*", 1),
        ("[< {(", 1),
        ("a : ( ;\n", FAULTS_MAX),
        ("}", FAULTS_MAX),
        ("flow x {", FAULTS_MAX),
        ("a b c ", 1),
        ("a", 1),
        ("1", 1),
        ("a:b|roll(1) ", 1),
        ("{a=>", 1),
        ("flo x ", 2),
        ("a:b|c\n", FAULTS_MAX),
    ],
)
def test_parse_of_large_nonsense_ends_with_faults(unit: str, faults: int) -> None:
    with pytest.raises(FlowError) as caught:
        parse(unit * (LENGTH // len(unit)))
    assert len(caught.value.found) == faults
    assert len(str(caught.value)) < 100_000


@pytest.mark.parametrize(
    "text",
    [
        f"a : b | {'c ' * 20_000};",
        f"a : b | roll(1) {{ {'c ' * 20_000} }} ;",
        f"a : b({'1,' * 20_000}1) | c ;",
        f"a : b | [{'c,' * 20_000}c] ;",
        f"a @ {'x, ' * 20_000}x : b | c ;",
        f"a : {'[' * 0}b({'[' * 49}{']' * 49}) | c ;",
        f"a : b | {'d => '.join(['{ '] * 50)}d => c{' }' * 50} ;",
        "# comment\n" * 20_000,
        " " * 200_000,
        f'a : b("{"x" * 90_000}") | c ;',
    ],
    ids=lambda text: text[:20].strip(),
)
def test_parse_of_large_flows_gives_flows(text: str) -> None:
    flow = parse(text)
    assert isinstance(flow, Flow)
    assert parse(print_flow(flow)) == flow


def test_only_so_many_faults_are_shown() -> None:
    with pytest.raises(FlowError, match=f"the faults after the {FAULTS_MAX}th are not shown"):
        parse("a : b(09, 09) | c ;\n" * FAULTS_MAX)
