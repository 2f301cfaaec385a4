"""Printing and parsing again gives the same model."""

from __future__ import annotations

import pytest
from hypothesis import given

from qanat.flow.model import Flow
from qanat.flow.parser import parse, parse_component
from qanat.flow.printer import print_flow, print_sink, print_value
from tests.unit.flow.generated import flows


@given(flows)
def test_parse_returns_what_was_printed(flow: Flow) -> None:
    printed = print_flow(flow)
    assert parse(printed) == flow
    assert print_flow(parse(printed)) == printed


def test_print_keeps_units_and_escapes_as_a_user_would_write_them() -> None:
    text = r'file("a\n\"é\u0000", 90s, 1.5h, 64MiB, [true, 2], roll=f)'
    assert print_value(parse_component(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        '[< a("c1", required=true) ? b >, [c, d(1)], < < e ? f > ? [g] >]',
        "a b(1) [c, d e]",
        "a roll(10m) { b [c] }",
        "collector { a }",
        'a switch("%{x}") { "v" => b(required=true), "w" => c [d], else => e }',
    ],
)
def test_print_writes_sink_expressions_as_a_user_would(text: str) -> None:
    assert print_sink(parse(f"x : s | {text} ;").nodes[0].sink) == text


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("{ a => { b(1) => c } }", "a b(1) c"),
        ("{ a => b => c }", "a b c"),
        ("a { b => [c, { d => e }] }", "a b [c, d e]"),
        ("roll(5) a b", "roll(5) { a b }"),
        ("roll(5) { a => b }", "roll(5) { a b }"),
        ('switch("x") { else => a, "v" => b, }', 'switch("x") { "v" => b, else => a }'),
    ],
)
def test_every_way_to_write_the_same_is_printed_in_one(written: str, canonical: str) -> None:
    assert print_sink(parse(f"x : s | {written} ;").nodes[0].sink) == canonical


def test_print_puts_statements_of_a_flow_into_its_group() -> None:
    text = "a : s | k ;\nflow f {\n  b @ x, !y : [s, t] | c | k ;\n  d : s | k ;\n}\ne : s | k ;\n"
    assert print_flow(parse(text)) == text
    assert [node.flow for node in parse(text).nodes] == ["default-flow", "f", "f", "default-flow"]
