"""What an agent runs for a node, and what it calls it."""

from __future__ import annotations

import pytest

from agent.plan import Line, lines, weakened
from qanat import registry
from qanat.component import Level
from qanat.flow.parser import parse
from qanat.flow.printer import print_value
from qanat.flow.routes import routes


def plan(pipeline: str) -> tuple[Line, ...]:
    node = parse(f"web : {pipeline} ;").nodes[0]
    return lines(
        node,
        routes(node.sink, registry.general_form),
        lambda name: registry.agent_sink(name).level,
        lambda name: name == "syslogTcp",
        registry.consumes,
    )


def test_live_source_gets_one_channel_of_the_strongest_level() -> None:
    (line,) = plan('syslogTcp(5140) | agentE2EChain("c1", "c2")')
    assert line.channel is not None
    assert line.channel.name == "fileChannel"
    (line,) = plan('syslogTcp(5140) | [ agentBESink("c1"), agentDFOSink("c2") ]')
    assert line.channel is not None
    assert (line.channel.name, len(line.destinations)) == ("spillChannel", 2)
    (line,) = plan('syslogTcp(5140) | memoryChannel | agentE2ESink("c1")')
    assert line.channel is not None
    assert line.channel.name == "memoryChannel"


def test_source_that_consumes_what_it_reads_has_one_channel_for_several_destinations() -> None:
    (line,) = plan('spoolDir("/in") | [ agentE2ESink("c1"), agentE2ESink("c2") ]')
    assert line.channel is not None
    assert (line.channel.name, len(line.destinations)) == ("fileChannel", 2)
    (line,) = plan('spoolDir("/in") | agentE2ESink("c1")')
    assert line.channel is None
    assert len(plan('text("/in") | [ agentE2ESink("c1"), agentE2ESink("c2") ]')) == 2


@pytest.mark.parametrize(
    ("sink", "channel"),
    [
        ("agentE2ESink", None),
        ('agentE2EChain("a", "b")', None),
        ("agentDFOSink", "spillChannel"),
        ("agentBESink", "memoryChannel(full=drop)"),
    ],
)
def test_level_chooses_the_channel_unless_the_flow_does(sink: str, channel: str | None) -> None:
    (line,) = plan(f"tail | {sink}")
    assert (line.channel and print_value(line.channel)) == channel
    (line,) = plan(f"tail | fileChannel(1) | {sink}")
    assert line.channel
    assert print_value(line.channel) == "fileChannel(1)"


def test_fan_out_without_a_channel_has_a_source_for_each_branch() -> None:
    found = plan(
        'tail("x") | [ agentE2ESink("a"), [ agentBESink("b", required=true) ], agentDFOChain("c", "d") ]'
    )
    assert [(line.label, line.channel and line.channel.name) for line in found] == [
        ("web", None),
        ("web#1", "memoryChannel"),
        ("web#2", "spillChannel"),
    ]
    assert [[(each.label, each.level, each.required) for each in line.destinations] for line in found] == [
        [("web", Level.E2E, False)],
        [("web#1", Level.BE, True)],
        [("web#2", Level.DFO, False)],
    ]
    assert [print_value(call) for call in found[2].destinations[0].sinks] == [
        'agentDFOSink("c")',
        'agentDFOSink("d")',
    ]


def test_fan_out_with_a_channel_shares_it() -> None:
    (line,) = plan('tail | memoryChannel | [ agentE2ESink("a"), agentBESink("b") ]')
    assert [each.label for each in line.destinations] == ["web", "web#1"]
    assert (line.label, line.sources[0].name) == ("web", "tail")


def test_weakened_promise_is_named_with_what_to_write_instead() -> None:
    (line,) = plan('tail | memoryChannel | [ agentE2ESink("a"), agentDFOSink("b"), agentBESink("c") ]')
    said = list(weakened(line, Level.BE))
    assert len(said) == 2
    assert "promises E2E to agentE2ESink, and memoryChannel keeps only BE" in said[0]
    assert "Write no channel (the source is read again) or fileChannel" in said[0]
    assert "Write spillChannel or fileChannel" in said[1]
    assert not list(weakened(line, Level.E2E))


def test_a_channel_that_drops_weakens_e2e_whatever_it_keeps() -> None:
    (line,) = plan('tail | fileChannel(full=drop) | [ agentE2ESink("a"), agentBESink("b") ]')
    (said,) = weakened(line, Level.E2E)
    assert "fileChannel drops what it has no room for. Write full=block" in said
