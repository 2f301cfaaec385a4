"""Groups, fan-in, decorators, switch, braces: what they mean, and what is said when they are wrong."""

from __future__ import annotations

import re
from itertools import count

import pytest

from qanat.errors import ConfigError
from qanat.flow.local import localise
from qanat.flow.model import (
    Branch,
    Call,
    Case,
    Decorated,
    FanOut,
    LogicalNode,
    Rolled,
    SinkExpression,
    Switch,
    Text,
)
from qanat.flow.parser import parse
from qanat.flow.printer import print_flow
from qanat.flow.routes import routes
from qanat.flow.tiers import Names, refuse_selectors, split

NAMES = Names(
    sources=["tail"],
    sinks=["file"],
    agent_sinks=["agentSink", "autoE2EChain"],
    collector_sources=["collectorSource", "autoCollectorSource"],
    channels=["memoryChannel"],
)
a, b, c, d = map(Call, "abcd")


def sink(text: str) -> SinkExpression:
    return parse(f"x : s | {text} ;").nodes[0].sink


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    return [fault.partition("\n")[0] for fault in caught.value.faults]


def test_several_sources_go_into_one_channel_or_sink() -> None:
    node, single = parse("x : [ s(1), t ] | ch | k ; y : [ s ] | k ;").nodes
    assert node == LogicalNode(
        "x", (parse("x : s(1) | k ;").nodes[0].source, Call("t")), Call("k"), Call("ch")
    )
    assert single.source == Call("s")
    with pytest.raises(ValueError, match="x has 2 sources, not one"):
        assert node.source


def test_decorators_are_one_chain_in_the_order_of_the_way() -> None:
    chain = Decorated((a, b), c)
    assert (
        sink("a b c") == sink("{ a => { b => c } }") == sink("a { b => c }") == sink("{ a => b c }") == chain
    )
    assert sink("a [b c, d]") == Decorated((a,), FanOut((Branch(Decorated((b,), c)), Branch(d))))


def test_braces_after_roll_and_collector_are_theirs_and_others_decorate() -> None:
    five = sink("roll(5) { a }").roll  # type: ignore[union-attr]
    assert sink("roll(5) { a }") == sink("roll(5) a") == Rolled(five, a)
    assert sink("b roll(5) { c => a }") == Decorated((b,), Rolled(five, Decorated((c,), a)))


def test_switch_has_cases_and_may_have_an_else() -> None:
    wanted = Switch(
        Text("%{x}"),
        (Case(Text("v"), Branch(a)), Case(Text("w"), Branch(Decorated((b,), c), required=True))),
        Branch(d),
    )
    assert sink('switch("%{x}") { "v" => a, "w" => b c(required=true), else => d, }') == wanted
    assert sink('switch("x") { "v" => a }') == Switch(Text("x"), (Case(Text("v"), Branch(a)),))


def test_keywords_are_names_where_they_cannot_be_meant() -> None:
    text = "flow : s(in=1, else=2) | k ;\nelse @ flow, in in (in, flow, true) : s | k ;\nroll : s | k ;\n"
    assert print_flow(parse(text)) == text


def test_every_fault_is_found_although_groups_are_broken() -> None:
    found = faults(
        "flow one { a : b | c }\n"  # no ; before the brace
        "d : e | ;\n"
        "flwo two { f : g | h ; }\n"
        "flow three { flow four { i : j | k ; }\n"
        "}\n"
        "l : m(09) | n\n"
        "l : p | q ;\n"
        "flow five {\n"
    )
    assert found == [
        'f:1:22: found "}", expected a sink, ";" or "|"',
        'f:2:9: found ";", expected a sink',
        'f:3:1: found "flwo two"; did you mean "flow"?',
        'f:4:14: a flow within the flow "three", which begins at line 4; close that with } first',
        'f:5:1: found "}", and there is no flow NAME { that it could close',
        "f:6:7: 09 is octal because of its leading 0, and octal has no digits 8 and 9",
        'f:7:1: found a new statement, "l :", expected ";" to end the one before it',
        'f:7:1: the logical node "l" is already defined at line 6; give it another name',
        'f:8:1: the flow "five" is not closed with }',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[] | a", "f:1:5: there is no source between the brackets"),
        ("s | { a }", "f:1:9: a sink in braces needs something before them"),
        (
            "s | rol(5) { a }",
            '"rol" takes no sink in braces, only roll and collector do; did you mean "roll"?',
        ),
        ("s | gzip { a }", "for a decorator write gzip without braces"),
        ("s | roll(5)", "f:1:9: roll rolls a sink, and there is none"),
        ("s | collector(5)", "collector rolls a sink, and there is none"),
        ("s | roll(1) roll(2) a", "f:1:9: roll is given twice for the same sink"),
        ('s | switch("x")', "a switch has its cases in braces"),
        ('s | switch("x") a', "a switch has its cases in braces"),
        ('s | swich("x") { "v" => a }', 'cases need a switch before them: .*; did you mean "switch"?'),
        ('s | { "v" => a }', "cases need a switch before them"),
        ('s | switch { "v" => a }', "a switch is given what to look at, in one string"),
        ('s | switch("x", 2) { "v" => a }', "a switch is given what to look at, in one string"),
        ('s | switch("x") { "v" => a, "v" => b }', 'f:1:33: the case "v" is there twice'),
        ('s | switch("x") { else => a, else => b }', 'f:1:34: "else" is there twice'),
        (
            's | switch("x") { "v" => a, els => b }',
            'found "els", expected "}", a string or else; did you mean "else"?',
        ),
        ('s | switch("x") { "v" = a }', 'found "=", expected "=>"'),
        ('s | switch("x") { 5 => a }', 'found "5", expected a sink, a string or else'),
        ("s | a => b", 'found "=>", expected'),
        ("s | [a] b", 'found "b", expected ";"'),
        ("s | [ [a, b(required=true)], d c(required=5) ]", 'f:1:47: "required" is true or false'),
        ("s | a b(required=true)", '"required" is for the branches of a fan-out'),
    ],
)
def test_fault_says_what_is_wrong(text: str, message: str) -> None:
    found = faults(f"x : {text} ;")
    assert len(found) == 1, found
    assert re.search(message if ".*" in message else re.escape(message), found[0]), found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x : [tail, collectorSource] | file ;", ":1:12: collectorSource stands alone"),
        ("x : tail | regex(1) file ;", ':1:12: there is no decorator "regex"; there are: none yet'),
        ("x : tail | [{ a => b file }] ;", 'there is no decorator "b"; there are: none yet'),
        ('x : tail | switch("x") { "v" => fiel } ;', 'there is no sink "fiel"; did you mean "file"?'),
        ("x : [tail, tial] | file ;", 'there is no source "tial"; did you mean "tail"?'),
        ("x : file | tail ;", ':1:5: there is no source "file"; it is a sink, and stands in the wrong place'),
        ("x : tail | memoryChannel file ;", 'there is no decorator "memoryChannel"; it is a channel'),
        ("x : collectorSorce | file ;", 'did you mean "collectorSource"?'),
    ],
)
def test_what_no_program_runs_yet_is_said_precisely(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        split(parse(text), NAMES)


def test_decorators_belong_to_the_destinations_that_they_stand_before() -> None:
    found = routes(sink("a [ b k, { c => [ d m, n ] } ]"), lambda call: call)
    assert [[each.name for each in route.decorators] for route in found] == [
        ["a", "b"],
        ["a", "c", "d"],
        ["a", "c"],
    ]
    assert [each.sinks[0].name for each in found] == ["k", "m", "n"]


def test_decorators_within_a_failover_are_refused_with_where_they_go() -> None:
    with pytest.raises(ConfigError, match=re.escape("write the decorators before it, b < k ? m >")):
        routes(sink("< b k ? m >"), lambda call: call)


def test_a_program_refuses_selectors_because_it_knows_no_labels() -> None:
    with pytest.raises(ConfigError, match=re.escape(":2:1: y @ role=web: labels are looked at by masters")):
        refuse_selectors(parse("x : s | k ;\ny @ role = web : s | k ;"))
    refuse_selectors(parse("x : s | k ;"))


def test_automatic_chains_stay_within_their_flow() -> None:
    text = """
        flow one { x : tail | autoE2EChain ; cx : autoCollectorSource | file ; }
        flow two { cy : autoCollectorSource | file ; y : tail | autoE2EChain ; cz : autoCollectorSource | file ; }
    """
    local = localise(split(parse(text), NAMES), iter(map(int, count(5))))
    assert print_flow(local.agents).splitlines() == [
        "flow one {",
        '  x : tail | agentE2EChain("127.0.0.1:5") ;',
        "}",
        "flow two {",
        '  y : tail | agentE2EChain("127.0.0.1:6", "127.0.0.1:7") ;',
        "}",
    ]
    lonely = split(parse("flow one { x : tail | autoE2EChain ; } c : autoCollectorSource | file ;"), NAMES)
    with pytest.raises(ConfigError, match='and the flow "one" has no collector for it'):
        localise(lonely, iter(map(int, count(5))))
