"""`loadBalance`: each batch to one destination, chosen once; what an agent makes of it."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from agent.plan import Line, lines
from qanat import registry
from qanat.batch import Batch
from qanat.chain import build_chain
from qanat.check import check
from qanat.decorators.common.cases import NOTE
from qanat.errors import ConfigError
from qanat.flow.parser import parse
from qanat.flow.printer import print_flow
from qanat.flow.routes import routes
from qanat.flow.sinks import undecorated
from qanat.flow.switching import branches, spread
from tests.unit.decorators.batches import context
from tests.unit.decorators.batches import lines as made

SINKS = '[ agentE2ESink("c1"), agentE2ESink("c2"), agentE2ESink("c3") ]'


def chosen(text: str, *batches: Batch) -> list[str]:
    calls, _ = undecorated(spread(parse(f"n : s | {text} ;").nodes[0].sink))
    chain = build_chain(calls, context())
    assert chain is not None
    return [chain.apply(batch).attributes[NOTE] for batch in batches]


def plan(pipeline: str) -> Line:
    node = parse(f"web : {pipeline} ;").nodes[0]
    (line,) = lines(
        node,
        routes(node.sink, registry.general_form),
        lambda name: registry.agent_sink(name).level,
        lambda name: name == "syslogTcp",
    )
    return line


def test_a_stream_goes_to_one_destination_and_streams_to_all_of_them() -> None:
    again = chosen("loadBalance [ a, b, c ]", *[made(b"x", start=at, stream="s") for at in range(20)])
    assert len(set(again)) == 1
    many = Counter(chosen("loadBalance [ a, b, c ]", *[made(b"x", stream=f"s{n}") for n in range(300)]))
    assert set(many) == {"0", "1", "2"}
    assert min(many.values()) > 60


def test_a_further_destination_takes_from_each_and_moves_nothing_else() -> None:
    batches = [made(b"x", stream=f"s{number}") for number in range(200)]
    before, after = chosen("loadBalance [ a, b ]", *batches), chosen("loadBalance [ a, b, c ]", *batches)
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {new for _, new in moved} == {"2"}
    assert {old for old, _ in moved} == {"0", "1"}


def test_batches_of_one_stream_go_round_or_by_chance_when_the_flow_says_so() -> None:
    batches = [made(b"x", start=at) for at in range(0, 600, 2)]
    assert Counter(chosen("loadBalance(round_robin) [ a, b, c ]", *batches)) == {"0": 100, "1": 100, "2": 100}
    found = Counter(chosen("loadBalance(random) [ a, b ]", *batches))
    assert min(found.values()) > 100


def test_what_waited_before_load_was_balanced_is_for_the_first_destination() -> None:
    """As in a channel whose only destination was that: nobody else would take it."""
    line = plan(f"tail() | fileChannel | loadBalance {SINKS}")
    waits = made(b"x", b"y")
    found = []
    for each in line.destinations:
        chain = build_chain(each.decorators, context())
        assert chain is not None
        found.append(chain.apply(waits).count)
    assert found == [2, 0, 0]


def test_every_batch_passes_one_branch_whole() -> None:
    sink = parse('n : s | loadBalance [ a, b, value("x", "1") c ] ;').nodes[0].sink
    batch = made(b"x", b"y")
    found = []
    for branch in branches(sink):
        chain = build_chain(undecorated(branch.sink)[0], context())
        assert chain is not None
        found.append(chain.apply(batch))
    assert sorted(each.count for each in found) == [0, 0, 2]
    assert all(NOTE not in each.attributes and each.end == batch.end for each in found)


def test_agent_chooses_before_a_channel_and_each_destination_takes_over_from_the_others() -> None:
    line = plan(f'tail("x") | drop("a") loadBalance {SINKS}')
    assert line.channel is not None
    assert line.channel.name == "fileChannel"
    assert [call.name for call in (*line.decorators, *line.intake)] == ["drop", "balance"]
    ways = [[str(call.positional[0].value) for call in each.sinks] for each in line.destinations]  # type: ignore[union-attr]
    assert ways == [["c1", "c2", "c3"], ["c2", "c3", "c1"], ["c3", "c1", "c2"]]
    assert [[call.name for call in each.decorators] for each in line.destinations] == [["case"]] * 3


def test_choice_for_what_is_pushed_is_made_on_its_way_into_the_channel() -> None:
    line = plan(f'syslogTcp(1) | drop("a") loadBalance(round_robin) {SINKS}')
    assert ([call.name for call in line.intake], line.decorators) == (["balance"], ())
    assert [[call.name for call in each.decorators] for each in line.destinations] == [["case", "drop"]] * 3


def test_least_loaded_is_printed_as_it_is_parsed() -> None:
    text = f"x : tail('a') | loadBalance(least_loaded) {SINKS} ;".replace("'", '"')
    flow = check(text)
    assert check(print_flow(flow)) == flow
    assert "loadBalance(least_loaded)" in print_flow(flow) or 'loadBalance("least_loaded")' in print_flow(
        flow
    )


def test_least_loaded_gets_the_next_batch_and_equals_take_turns() -> None:
    calls, _ = undecorated(spread(parse("n : s | loadBalance(least_loaded) [ a, b, c ] ;").nodes[0].sink))
    chain = build_chain(calls, context())
    assert chain is not None
    assert chain.loads is not None
    batches = [made(b"x", start=at) for at in range(0, 12, 2)]
    assert [chain.apply(batch).attributes[NOTE] for batch in batches] == ["1", "2", "0", "1", "2", "0"]
    chain.loads.given(1, 10, 500)
    chain.loads.given(2, 20, 100)
    assert {chain.apply(batch).attributes[NOTE] for batch in batches} == {"0"}


@pytest.mark.parametrize("by", ["round_robin", "least_loaded"])
def test_collector_within_a_branch_balances_only_by_what_each_branch_finds_by_itself(by: str) -> None:
    text = f'c : autoCollectorSource | [ file("/c/", "x-"), loadBalance({by}) [ file("/a/", "x-"), file("/b/", "x-") ] ] ;'
    with pytest.raises(ConfigError, match="is for all destinations of a logical node"):
        check(text)
    check(text.replace(by, "random"))


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ('loadBalance agentE2ESink("c1")', "stands right before the destinations"),
        ('[ loadBalance agentE2ESink("c1"), agentE2ESink("c2") ]', "stands right before the destinations"),
        (f'loadBalance value("a", "b") {SINKS}', "stands right before the destinations"),
        (f'[ loadBalance {SINKS}, agentE2ESink("c4") ]', "is for all destinations of a logical node"),
        (f'loadBalance [ loadBalance {SINKS}, agentE2ESink("c4") ]', "is for all destinations"),
        (f"loadBalance(best) {SINKS}", "wanted is one of least_loaded, random, round_robin, stream"),
        (f'[ loadBalance(by=round_robin) {SINKS}, agentE2ESink("c4") ]', "within a branch of a fan-out"),
    ],
)
def test_wrong_use_is_refused_with_its_place(sink: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(f'x : tail("a") | {sink} ;')
