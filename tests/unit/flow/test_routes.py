"""Chains are the general form; the general form is destinations. Whose nodes run where."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import pytest

from qanat import registry
from qanat.cli.check import check_agent, check_collector
from qanat.component import Context, Level
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.local import localise
from qanat.flow.model import Call, LogicalNode, SinkExpression
from qanat.flow.parser import parse
from qanat.flow.printer import print_flow, print_sink
from qanat.flow.routes import generalise, routes
from qanat.flow.tiers import Names, split

NAMES = Names(
    sources=["tail"],
    sinks=["file"],
    agent_sinks=registry.names(registry.AGENT_SINKS),
    collector_sources=["collectorSource", "autoCollectorSource"],
    channels=["memoryChannel"],
)


def node(sink: str, source: str = 'tail("/x")') -> LogicalNode:
    return parse(f"web : {source} | {sink} ;", "app.flow").nodes[0]


def general(sink: str) -> str:
    return print_sink(generalise(node(sink).sink, registry.general_form))


@pytest.mark.parametrize(
    ("convenient", "form"),
    [
        ("agentSink", "agentE2ESink"),
        ('agentSink("c1", 5)', 'agentE2ESink("c1", 5)'),
        ('agentE2EChain("c1", "c2")', '< agentE2ESink("c1") ? agentE2ESink("c2") >'),
        ('agentDFOChain("c1", "c2:5")', '< agentDFOSink("c1") ? agentDFOSink("c2", 5) >'),
        ('agentBEChain(["[::1]:5", "[::1]"])', '< agentBESink("[::1]", 5) ? agentBESink("[::1]") >'),
        ('agentE2EChain(collectors=["c1"])', 'agentE2ESink("c1")'),
        (
            '< agentE2EChain("c1", "c2") ? agentSink("c3") >',
            '< agentE2ESink("c1") ? agentE2ESink("c2") ? agentE2ESink("c3") >',
        ),
        (
            '[ agentE2EChain("c1", "c2", required=true), [ agentBESink("c3") ] ]',
            '[< agentE2ESink("c1", required=true) ? agentE2ESink("c2") >, [agentBESink("c3")]]',
        ),
    ],
)
def test_names_for_convenience_translate_to_the_general_form(convenient: str, form: str) -> None:
    assert general(convenient) == form
    assert general(form) == form


def destinations(call: SinkExpression) -> tuple[str, ...]:
    assert isinstance(call, Call)
    kind = registry.agent_sink(call.name)
    return kind(bind(call, kind.Config), Context("a", "web", "h", Path("unused"))).destinations()


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_sink_takes_an_address_of_ipv6_with_brackets_or_without(host: str) -> None:
    node = parse(f'n : tail("f") | agentE2ESink("{host}", 99) ;').nodes[0]
    assert destinations(node.sink) == ("[::1]:99",)


@pytest.mark.parametrize("level", list(Level), ids=lambda level: level.name)
def test_chain_and_its_general_form_have_the_same_destinations_and_level(level: Level) -> None:
    chain = node(f'agent{level.name}Chain("c1", "c2:5", "[::1]:7")').sink
    (route,) = routes(chain, registry.general_form)
    assert sum((destinations(sink) for sink in route.sinks), ()) == destinations(chain)
    assert isinstance(chain, Call)
    assert {registry.agent_sink(name).level for name in (chain.name, route.sinks[0].name)} == {level}


def test_routes_are_the_branches_of_all_fan_outs() -> None:
    found = routes(node('[ < a("1") ? a("2") >, [ b(required=true), c ] ]').sink, lambda call: call)
    assert [([call.name for call in route.sinks], route.required) for route in found] == [
        (["a", "a"], False),
        (["b"], True),
        (["c"], False),
    ]


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (
            '< agentE2ESink("c1") ? agentBESink("c2") >',
            "app.flow:1:43: a failover is one promise: agentBESink can't take over from agentE2ESink; write "
            '< agentE2ESink("c1") ? agentE2ESink("c2") >, or [agentE2ESink(...), agentBESink(...)] to send to both',
        ),
        ('< agentE2ESink("c1") ? [agentE2ESink] >', "a fan-out goes around failovers"),
        ('[ agentSink, agentE2EChain("host:port") ]', 'agentE2EChain: "host:port" is not an address'),
        ("agentE2EChain()", "app.flow:1:20: agentE2EChain"),
    ],
)
def test_check_refuses_what_an_agent_cannot_deliver_to(sink: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_agent([node(sink)])
    assert len(caught.value.faults) == 1, caught.value.faults
    assert message in caught.value.faults[0]


def test_check_refuses_a_failover_of_stores() -> None:
    sink = '< file("/a/", "x") ? file("/b/", "x") >'
    with pytest.raises(ConfigError, match="a failover is for an agent's collectors"):
        check_collector([node(sink, "collectorSource(5)")])


def test_split_reads_the_tier_from_all_parts_of_a_sink_expression() -> None:
    flow = parse(
        'a : tail | memoryChannel | [ agentSink("x"), < agentBESink("y") ? agentBESink("z") > ] ;'
        "b : collectorSource | [file, file] ; c : tail | memoryChannel | [file] ;"
    )
    tiers = split(flow, NAMES)
    assert [[n.name for n in tier] for tier in (tiers.agents, tiers.collectors, tiers.direct)] == [
        ["a"],
        ["b"],
        ["c"],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a : tail | [agentSink, file] ;", ":1:12: [agentSink, file] both delivers and stores; write two"),
        ("a : tail | [agentSnk, file] ;", 'no sink "agentSnk"; did you mean "agentSink"?'),
        ("a : tail | memoryChanel | agentSink ;", 'no channel "memoryChanel"; did you mean "memoryChannel"?'),
        ("a : collectorSource | memoryChannel | file ;", "a collector has no channel"),
        ("a : collectorSource | [agentSink] ;", "a collector writes to storage"),
    ],
)
def test_split_says_what_does_not_fit(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        split(parse(text), NAMES)


def test_localise_fills_in_automatic_chains_of_every_level() -> None:
    flow = parse(
        "a : tail | memoryChannel | [ autoE2EChain(required=true), autoBEChain ] ; b : tail | autoDFOChain ;"
        "c : autoCollectorSource | file ; d : tail | memoryChannel | [file, file] ;"
    )
    local = localise(split(flow, NAMES), iter(map(int, count(5))))
    assert print_flow(local.agents).splitlines() == [
        'a : tail | memoryChannel | [agentE2EChain("127.0.0.1:5", required=true), agentBEChain("127.0.0.1:5")] ;',
        'b : tail | agentDFOChain("127.0.0.1:5") ;',
        'd : tail | memoryChannel | agentE2ESink("127.0.0.1", 6) ;',
    ]
    assert print_flow(local.collectors).splitlines() == [
        'c : collectorSource(5, "127.0.0.1") | file ;',
        'd : collectorSource(6, "127.0.0.1") | [file, file] ;',
    ]


def test_localise_says_which_collector_an_automatic_chain_lacks() -> None:
    with pytest.raises(ConfigError, match="delivers to autoBEChain, and the file has no collector"):
        localise(split(parse("a : tail | [autoBEChain] ;"), NAMES), iter([]))
