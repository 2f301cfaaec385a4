"""Configurations as users of Flume OG wrote them, and what they mean here.

After the user guide, the cookbook, the tests of 0.9.5 (cloudera/flume, Apache License 2.0) and what people asked on the mailing
list. Components that do not exist here yet are parsed all the same; whether they exist is another check.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from qanat import registry
from qanat.check import check
from qanat.errors import ConfigError
from qanat.flow import former
from qanat.flow.flume import translate_flow
from qanat.flow.model import LogicalNode
from qanat.flow.parser import parse
from qanat.flow.printer import print_node
from qanat.flow.routes import generalise
from qanat.flow.sinks import calls

AGENT_SINKS = registry.names(registry.AGENT_SINKS)


def takes_roll(name: str) -> bool:
    return name in ("file", "hdfs", "escapedCustomDfs", "escapedFormatDfs", "customdfs")


def general(node: LogicalNode) -> str:
    delivers = all(call.name in AGENT_SINKS for call in calls(node.sink))
    return print_node(replace(node, sink=generalise(node.sink, registry.general_form)) if delivers else node)


# What was written, and the general form that means the same.
CORPUS = [
    # The guide's first steps, on one machine.
    ("host : text(\"/etc/services\") | console ;", 'host : text("/etc/services") | console ;'),
    ("host: tail(\"/etc/services\") | text(\"services.copy\");", 'host : tail("/etc/services") | text("services.copy") ;'),
    ("host : syslogTcp(5140) | console;", "host : syslogTcp(5140) | console ;"),
    ("dump: asciisynth(0, 100) | null();", "dump : asciisynth(0, 100) | null ;"),
    ("bar:exec(\"cat pipe\")|agentBESink;", 'bar : exec("cat pipe") | agentBESink ;'),
    ("dump: exec(\"vmstat 5\", false, true, 5000) | console(\"avrojson\");",
     'dump : exec("vmstat 5", false, true, 5000) | console("avrojson") ;'),
    # Agents and a collector, with and without ports.
    ("agentA : tail(\"/var/log/a\") | agentSink(\"collector\",35853);",
     'agentA : tail("/var/log/a") | agentE2ESink("collector", 35853) ;'),
    ("agentB : src | agentDFOSink(\"localhost\", 0x8C0D);", 'agentB : src | agentDFOSink("localhost", 35853) ;'),
    ("collector : collectorSource(35853) | console ;", "collector : collectorSource(35853) | console ;"),
    ("collector : collectorSource | collectorSink(\"hdfs://namenode/flume/\",\"srcdata\");",
     'collector : collectorSource | hdfs("hdfs://namenode/flume/", "srcdata") ;'),
    ("collector : collectorSource(35853) | collectorSink(\"file:///tmp/flume/collected\", \"syslog\");",
     'collector : collectorSource(35853) | file("/tmp/flume/collected", "syslog") ;'),
    ("localhost : collectorSource | collectorSink(\"file:///tmp/test/%H\",\"blah\",5000);",
     'localhost : collectorSource | file("/tmp/test/%H", "blah", roll=5000) ;'),
    ("fooConsumer : autoCollectorSource | collectorSink(\"hdfs://nn/foodir\") ;",
     'fooConsumer : autoCollectorSource | hdfs("hdfs://nn/foodir") ;'),
    ("c1 : collectorSource | collectorSink(\"hdfs://nn/logs/%{host}/%Y/%m/%d/%H00/\", \"%{host}-\", 600000, avrojson);",
     'c1 : collectorSource | hdfs("hdfs://nn/logs/%{host}/%Y/%m/%d/%H00/", "%{host}-", roll=600000, format="avrojson") ;'),
    ("c1 : collectorSource | collectorSink(\"/mnt/logs/\", \"web-%{rolltag}\", 30000, seqfile(\"gzip\"));",
     'c1 : collectorSource | file("/mnt/logs/", "web-", roll=30000, format=seqfile("gzip")) ;'),
    ("agentA : src | agentFailoverSink(\"c\", 35853);", 'agentA : src | agentDFOSink("c", 35853) ;'),
    ("agentB : src | { batch(10) => agentBestEffortSink(\"c\") };", 'agentB : src | batch(10) agentBESink("c") ;'),
    # Chains, named and automatic.
    ("agentA : src | agentE2EChain(\"collectorA:35853\",\"collectorB:35853\");",
     'agentA : src | < agentE2ESink("collectorA", 35853) ? agentE2ESink("collectorB", 35853) > ;'),
    ("agentF : src | agentBEChain(\"collectorC\",\"collectorB\");",
     'agentF : src | < agentBESink("collectorC") ? agentBESink("collectorB") > ;'),
    ("agentC : src | autoDFOChain ;", "agentC : src | autoDFOChain ;"),
    ("scribe: scribe | [console, autoE2EChain];", "scribe : scribe | [console, autoE2EChain] ;"),
    # Hosts are names of logical nodes: with dots, dashes, or as an address.
    ("web-01.example.com : tailDir(\"/var/log/httpd\", \"access.*\\\\.log\", true) | autoE2EChain ;",
     'web-01.example.com : tailDir("/var/log/httpd", "access.*\\\\.log", true) | autoE2EChain ;'),
    ("10.1.2.3 : syslogUdp(5140) | autoBEChain;", "10.1.2.3 : syslogUdp(5140) | autoBEChain ;"),
    # Logical names.
    ("dataProducer1 : console | logicalSink(\"dataConsumer\") ;", 'dataProducer1 : console | logicalSink("dataConsumer") ;'),
    ("dataConsumer : logicalSource | console ;", "dataConsumer : logicalSource | console ;"),
    # Failover.
    ("agent1 : source | < logicalSink(\"collector1\") ? logicalSink(\"collector2\") \n> ;",
     'agent1 : source | < logicalSink("collector1") ? logicalSink("collector2") > ;'),
    ("n : s | [ console, < logicalSink(\"collector1\") ? logicalSink(\"collector2\") > ] ;",
     'n : s | [console, < logicalSink("collector1") ? logicalSink("collector2") >] ;'),
    ("n : s | < flakeyAppend(.9,1337) console ? counter(\"count\") >;",
     'n : s | < flakeyAppend(0.9, 1337) console ? counter("count") > ;'),
    # Decorators in both notations.
    ("flumenode: source | intervalSampler(10) sink;", "flumenode : source | intervalSampler(10) sink ;"),
    ("flumenode: source | batch(100) gzip sink;", "flumenode : source | batch(100) gzip sink ;"),
    ("flumenode: source | { batch(100) => { gzip => sink } };", "flumenode : source | batch(100) gzip sink ;"),
    ("host : asciisynth(0,100) | { delay(250) => agentSink } ;", "host : asciisynth(0, 100) | delay(250) agentE2ESink ;"),
    ("node: source | { choke(\"Cid\") => sink };", 'node : source | choke("Cid") sink ;'),
    ("node1 : tail(\"foo\") | ackedWriteAhead batch(100) gzip lazyOpen stubbornAppend logicalSink(\"bar\");",
     'node1 : tail("foo") | ackedWriteAhead batch(100) gzip lazyOpen stubbornAppend logicalSink("bar") ;'),
    ("node2 : tail(\"foo\") | < lazyOpen stubbornAppend logicalSink(\"bar\") ?  diskFailover insistentOpen lazyOpen "
     "stubbornAppend logicalSink(\"bar\") >;",
     'node2 : tail("foo") | < lazyOpen stubbornAppend logicalSink("bar") ? diskFailover insistentOpen lazyOpen '
     'stubbornAppend logicalSink("bar") > ;'),
    ("s : syslogTcp(5140) | { regex(\"(\\\\d+):(\\\\d+)\", 1, \"hour\") => { value(\"rack\", \"a7\", escape=true) => "
     "agentE2ESink(\"c\", 35853) } } ;",
     's : syslogTcp(5140) | regex("(\\\\d+):(\\\\d+)", 1, "hour") value("rack", "a7", escape=true) agentE2ESink("c", 35853) ;'),
    ("n : s | {deco1 => [ {deco2 => a}, deco3 b ]} ;", "n : s | deco1 [deco2 a, deco3 b] ;"),
    # Rolling: the general form gives the time to the sinks.
    ("n : s | roll(1000) { escapedCustomDfs(\"hdfs://namenode/flume/file-%{rolltag}\") } ;",
     'n : s | escapedCustomDfs("hdfs://namenode/flume/file-%{rolltag}", roll=1000) ;'),
    ("n : s | roll(15000) { collectorMagic escapedCustomDfs(\"xxx\", \"yyy-%{rolltag}\") } ;",
     'n : s | collectorMagic escapedCustomDfs("xxx", "yyy-%{rolltag}", roll=15000) ;'),
    ("n : collectorSource | collector(15000) { escapedCustomDfs(\"xxx\",\"yyy-%{rolltag}\") };",
     'n : collectorSource | escapedCustomDfs("xxx", "yyy-%{rolltag}", roll=15000) ;'),
    ("n : collectorSource | collector(15000) { [ escapedCustomDfs(\"xxx\",\"yyy-%{rolltag}\"), "
     "hbase(\"aaa\", \"bbb-%{rolltag}\"), elasticSearch(\"eeee\",\"ffff\") ] };",
     'n : collectorSource | [escapedCustomDfs("xxx", "yyy-%{rolltag}", roll=15000), hbase("aaa", "bbb-%{rolltag}"), '
     'elasticSearch("eeee", "ffff")] ;'),
    ("n : collectorSource | collector() { escapedFormatDfs(\"file:///d\", \"f\", syslog) } ;",
     'n : collectorSource | escapedFormatDfs("file:///d", "f", syslog) ;'),
    ("n : s | roll (2123) { customdfs(\"x\") } ;", 'n : s | customdfs("x", roll=2123) ;'),
    # Literals and comments of Java; several statements on a line.
    ("/* two */ a : synth(010, 0x1F) | text(\"\\\"\\u0041\\102\\t\\\\\"); // end\n"
     "b : irc(\"srv\", 6667, \"n\", \"#hadoop\") | null;",
     'a : synth(8, 31) | text("\\"AB\\t\\\\") ;\nb : irc("srv", 6667, "n", "#hadoop") | null ;'),
]  # fmt: skip


@pytest.mark.parametrize(("written", "form"), CORPUS, ids=[form.split(" ;")[0][:60] for _, form in CORPUS])
def test_what_flume_users_wrote_means_what_it_meant(written: str, form: str) -> None:
    flow = translate_flow(parse(written), takes_roll)
    assert "\n".join(map(general, flow.nodes)) == form
    assert translate_flow(parse(form), takes_roll).nodes == parse(form).nodes


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        ("roll(5) { console }", ':1:19: console has no argument "roll"'),
        ('roll(5) { file("d", roll=10m) }', "file is rolled in two ways: here, and by the roll of line 1"),
        ('collector(5) { collectorSink("d", "p", 5) }', "file is rolled in two ways"),
        ("roll(5) { collector(6) { file } }", ":1:19: collector within the roll of line 1"),
        ("roll { file }", "roll is given a time and nothing else, roll(30s)"),
        ('roll("5") { file }', 'roll("5") is given a time'),
        ("collector(5, 6) { file }", "collector(5, 6) is given a time"),
        ("roll(every=5) { file }", "roll(every=5) is given a time"),
        ("collectorSink", 'collectorSink is given ("directory"'),
        ("collectorSink(5)", 'collectorSink(5): Flume OG\'s collectorSink is given ("directory"'),
        ('collectorSink("a", "b", 1, raw, 2)', 'collectorSink is given ("directory"'),
        (
            'collectorSink("s3n://bucket/x", "b")',
            ":1:23: collectorSink stores under file: or hdfs:, not s3n:",
        ),
    ],
)
def test_what_has_no_translation_is_refused_at_its_place(sink: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        translate_flow(parse(f"x : s | {sink} ;"), takes_roll)
    assert len(caught.value.faults) == 1, caught.value.faults
    assert message in caught.value.faults[0]


@pytest.mark.parametrize(
    ("flow", "message"),
    [
        ('n : rpcSource(12345) | agentE2ESink("c") ;',
         ':1:5: there is no source "rpcSource", as Flume OG had it: collectorSource(PORT)'),
        ("n : collectorSource | console ;", 'there is no sink "console", as Flume OG had it: file('),
        ('n : tail("f") | rpcSink("h", 1) ;', "agentBESink("),
        ('n : tail("f") | ackedWriteAhead lazyOpen agentBESink("c") ;', 'no decorator "ackedWriteAhead", as Flume OG had it'),
        ('n : tail("f") | < agentBESink("a") ? diskFailover agentBESink("c") > ;', "spillChannel"),
    ],
)  # fmt: skip
def test_what_is_called_otherwise_here_is_said(flow: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(flow)
    assert any(message in fault for fault in caught.value.faults), caught.value.faults


@pytest.mark.parametrize("name", sorted(former.RENAMED.values()))
def test_new_name_of_a_component_is_one(name: str) -> None:
    assert name in AGENT_SINKS


def test_truth_values_may_be_in_quotes() -> None:
    check('n : tail("f") | digest("MD5", "sum", base64="true") agentBESink("c") ;')
    with pytest.raises(ConfigError, match="wanted is true or false"):
        check('n : tail("f") | digest("MD5", "sum", base64="yes") agentBESink("c") ;')


def test_let_is_explained() -> None:
    with pytest.raises(
        ConfigError, match=re.escape("let is not in the language, as it was not in Flume OG since 0.9.3")
    ):
        parse('n : s | let foo := counter("bar") in < { failsometimes => foo } ? foo > ;')
