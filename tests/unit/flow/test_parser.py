"""The parser: what it accepts, and that every fault is reported at its place."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.errors import ConfigError
from qanat.flow.model import (
    Boolean,
    Branch,
    Call,
    Duration,
    Failover,
    FanOut,
    Integer,
    Items,
    Keyword,
    LogicalNode,
    Real,
    SinkExpression,
    Size,
    Text,
)
from qanat.flow.parser import parse, parse_component


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "app.flow")
    return caught.value.faults


def test_parse_reads_every_kind_of_value() -> None:
    call = parse_component(
        'x("a", -5, 0x1F, 010, 1.5, 1e-3, true, false, 30s, 1.5h, 64MiB, ["b", [1]], [], f(2), g, k="v", d=f)'
    )
    assert call.positional == (
        Text("a"),
        Integer(-5),
        Integer(31),
        Integer(8),
        Real(1.5),
        Real(0.001),
        Boolean(True),
        Boolean(False),
        Duration(Decimal(30), "s"),
        Duration(Decimal("1.5"), "h"),
        Size(Decimal(64), "MiB"),
        Items((Text("b"), Items((Integer(1),)))),
        Items(()),
        Call("f", (Integer(2),)),
        Call("g"),
    )
    assert call.keywords == (Keyword("k", Text("v")), Keyword("d", Call("f")))


def test_parse_reads_statements_with_comments_and_channels() -> None:
    flow = parse(
        '# hash\nweb : tail("http://x # y") | file ; // rest\n/* a ; b */ b-1.x_y: s()|\tmemoryChannel(1) | k;\r\n'
    )
    assert flow.nodes == (
        LogicalNode("web", (Call("tail", (Text("http://x # y"),)),), Call("file")),
        LogicalNode("b-1.x_y", (Call("s"),), Call("k"), Call("memoryChannel", (Integer(1),))),
    )
    assert (flow.nodes[1].place.line, flow.nodes[1].place.column) == (3, 13)


def sink(text: str) -> SinkExpression:
    return parse(f"x : s | {text} ;").nodes[0].sink


def test_parse_reads_fan_out_and_failover() -> None:
    a, b, c, d = map(Call, "abcd")
    assert sink("[a, b, c]") == FanOut((Branch(a), Branch(b), Branch(c)))
    assert sink("<a?b ? c>") == Failover((a, b, c))
    assert sink("[ < a ? b >, [c], d ]") == FanOut(
        (Branch(Failover((a, b))), Branch(FanOut((Branch(c),))), Branch(d))
    )
    node = parse("x : s | memoryChannel(1) | < a ? [b] > ;").nodes[0]
    assert (node.channel, node.sink) == (
        Call("memoryChannel", (Integer(1),)),
        Failover((a, FanOut((Branch(b),)))),
    )


def test_parse_gives_required_to_the_branch_and_not_to_the_component() -> None:
    a, b = Call("a", keywords=(Keyword("k", Integer(1)),)), Call("b")
    assert sink("[ a(required=true, k=1), b(required=false) ]") == FanOut((Branch(a, True), Branch(b)))
    assert sink("[ < a(k=1, required=true) ? b > ]") == FanOut((Branch(Failover((a, b)), True),))
    assert parse("x : s(required=true) | b ;").nodes[0].source.keywords[0].name == "required"


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (r'"\n\t\b\f\r\"\\\'"', "\n\t\b\f\r\"\\'"),
        (r'"\u00e9\uu0041\ud83d\ude00"', "éA😀"),
        (r'"\0\101\477"', "\x00A'7"),
        ('"é ; | /* // # \t"', "é ; | /* // # \t"),
    ],
)
def test_parse_resolves_java_escapes(literal: str, value: str) -> None:
    assert parse_component(f"x({literal})").positional == (Text(value),)


@pytest.mark.parametrize("text", ["", " \n", "# only a comment", "/* x */"])
def test_parse_of_nothing_is_an_empty_flow(text: str) -> None:
    assert parse(text).nodes == ()


def test_caret_stands_below_the_fault_behind_wide_characters() -> None:
    with pytest.raises(ConfigError) as caught:
        parse('w : tail("日本e\u0301" 5) | file ;', "f")
    assert str(caught.value).splitlines()[2] == " " * (4 + len('w : tail("') + 5 + len('" ')) + "^"


def test_fault_has_place_message_excerpt_and_caret() -> None:
    assert faults('ok : a | b ;\n\tweb : tail("x" 5) | file ;\n') == (
        'app.flow:2:17: found "5", expected ")" or ","\n    \tweb : tail("x" 5) | file ;\n    \t               ^',
    )


def test_parse_reports_faults_of_several_statements() -> None:
    found = faults('a : x | ;\nb : y | z ;\nc : ( | z ;\nd : x(10q, 09, "\\w") | z ;\nb : y | z ;')
    assert [fault.split(" ", 1)[0] for fault in found] == [
        "app.flow:1:9:",
        "app.flow:3:5:",
        "app.flow:4:7:",
        "app.flow:4:12:",
        "app.flow:4:17:",
        "app.flow:5:1:",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a : b | c", 'the text ends too early, expected a sink, ";" or "|"'),
        ('a : b("x | c ;\nd : e | f ;', "no closing"),
        ("a : b | c ; /* open", "not closed"),
        ("a : b('x') | c ;", "straight double quotes"),
        ("a : b | [] ;", "app.flow:1:9: a fan-out with nothing in it"),
        ("a : b | [c, < >] ;", "app.flow:1:13: a failover with nothing in it"),
        (f"a : b | {'[' * 60}c{']' * 60} ;", "brackets are nested deeper than 50"),
        (f"a : b | {'<' * 5000}c{'>' * 5000} ;", "brackets are nested deeper"),
        (f"{'a' * 201} : b | c ;", "a name has 200 characters at most, this one has 201"),
        (f'a : b("{"x" * 100_000}") | c ;', "a statement has 100,000 characters at most"),
        (f"a : b({', '.join(['1'] * 50_000)}) | c ;", "a statement has 100,000 characters at most"),
        ("a : b | [c, ] ;", 'found "]", expected a sink'),
        ("a : b | < c , d > ;", 'found ",", expected ">" or "?"'),
        ("a : b | c(required=true) ;", '"required" is for the branches of a fan-out'),
        ("a : b | < c(required=true) ? d > ;", '"required" is for the branches of a fan-out'),
        ("a : b | [< c ? d(required=true) >] ;", "write it in its first sink"),
        ("a : b | [c(required=1)] ;", 'app.flow:1:21: "required" is true or false'),
        ("a : b(1, x=2, 3) | c ;", "positional argument can't follow"),
        ("a : b(x=2, x=3) | c ;", '"x" is given twice'),
        ("a : b(5Mib) | c ;", "did you mean MiB?"),
        ("a : b(-5s) | c ;", "can't be negative"),
        ("a : b(99999999999999999999) | c ;", "64 bits"),
        ("a : b(1e999) | c ;", "too large"),
        ("a : b(1.2.3) | c ;", "not a number"),
        (f"a : b({'1' * 5000}) | c ;", "too long"),
        (f"a : {'b(' * 60}1{')' * 60} | c ;", "nested deeper"),
        (f"a : b({'[' * 5000}{']' * 5000}) | c ;", "nested deeper"),
        ('a : b("\\ud800") | c ;', "surrogate"),
        ('a : b("\\u12") | c ;', "four hexadecimal digits"),
        ("a : b | c ;\na : d | e ;", "already defined at line 1"),
    ],
)
def test_fault_says_what_is_wrong(text: str, message: str) -> None:
    found = faults(text)
    assert len(found) == 1, found
    assert message in found[0]


def test_parse_component_refuses_more_than_one() -> None:
    with pytest.raises(ConfigError, match="expected the end"):
        parse_component('tail("x") | file')


@given(st.text(alphabet='ab:|;()[]<>?",=\\/*# \n01.5sMé', max_size=60))
def test_parse_of_anything_gives_a_flow_or_faults(text: str) -> None:
    found: tuple[str, ...] = ("<flow>:",)
    try:
        parse(text)
    except ConfigError as error:
        found = error.faults
    assert found
    assert all(fault.startswith("<flow>:") for fault in found)
