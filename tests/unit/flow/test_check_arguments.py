"""Arguments whose types are right and whose values can't work: all of them are found before a flow runs, each at its place."""

from __future__ import annotations

import pytest

from qanat.check import check
from qanat.flow.faults import FlowError

SINK = 'agentE2ESink("c1")'


def faults(channel: str, sink: str = SINK) -> list[tuple[int, str]]:
    """Column and message of each."""
    with pytest.raises(FlowError) as caught:
        check(f'web : tail("/x") | {channel} | {sink} ;')
    return [(fault.place.column, fault.message) for fault in caught.value.found]


COLUMN = len('web : tail("/x") | ') + 1


@pytest.mark.parametrize(
    ("channel", "given", "why"),
    [
        ("memoryChannel(capacity=0)", "0", "nothing could wait"),
        ("fileChannel(segment=1B)", "1B", "a file for each batch"),
        ('fileChannel(path="wal")', '"wal"', "depends on where the agent is started"),
        ("spillChannel(capacity=1MiB, memory=2MiB)", "2MiB", "more than the whole capacity"),
        ('sqlChannel(url="postgresql://u:secret@h/d")', '"postgresql', "password_file"),
        ('sqlChannel(url="postgresql://u:se/cr@et@h/d")', '"postgresql', "password_file"),
        ('sqlChannel(url="postgresql://u@h/d?password=secret")', '"postgresql', "password_file"),
        ('jdbcChannel(url="postgresql")', '"postgresql', "no URL"),
        ('sqlChannel(password_file="/p")', '"/p"', "give the url"),
        (
            'sqlChannel(url="postgresql://u@h/d", password_file="/p", password_env="P")',
            '"P"',
            "one of the two",
        ),
    ],
)
def test_argument_that_cannot_work_is_found_at_its_place(channel: str, given: str, why: str) -> None:
    ((column, message),) = faults(channel)
    assert column == COLUMN + channel.index(given)
    assert why in message
    assert "secret" not in message


def test_all_that_is_wrong_is_said_at_once() -> None:
    found = faults('fileChannel(capacity=0, segment=1B, path="wal")', 'agentE2ESink("c1", 0)')
    assert len(found) == 4
    assert "port: 0 was given" in found[-1][1]


def test_line_with_a_password_is_not_shown() -> None:
    with pytest.raises(FlowError) as caught:
        check(f'web : tail("/x") | sqlChannel(url="postgresql://u:secret@h/d", capacity=0) | {SINK} ;')
    assert len(caught.value.found) == 2
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "channel",
    [
        "spillChannel(capacity=1MiB)",
        'sqlChannel(url="postgresql://u@h:5432/d?sslmode=require", password_file="/not/on/this/host")',
        'sqlChannel(url="sqlite:////var/lib/x.db")',
        'sqlChannel(url="mysql+pymysql://h/d")',
        'fileChannel(capacity=1MiB, path="/not/on/this/host")',
    ],
)
def test_what_only_the_host_knows_is_no_fault(channel: str) -> None:
    check(f'web : tail("/x") | {channel} | {SINK} ;')


def test_collector_cannot_listen_on_port_0() -> None:
    with pytest.raises(FlowError, match="collectorSource, port: 0 was given"):
        check('coll : collectorSource(0) | file("/x/", "y") ;')


def test_escape_that_does_not_exist_is_the_only_fault_of_a_pattern() -> None:
    ((_, message),) = faults("memoryChannel", r'regex("level=(\w+)", 1, "level") ' + SINK)
    assert r'write "\\w"' in message


@pytest.mark.parametrize(
    ("decorator", "why"),
    [
        ('mask("body")', "a part of the event itself"),
        ("filter(equals=[])", "fulfilled by no event"),
    ],
)
def test_decorator_that_does_nothing_or_everything_is_a_fault(decorator: str, why: str) -> None:
    ((_, message),) = faults("memoryChannel", f"{decorator} {SINK}")
    assert why in message


def test_switch_on_a_name_without_its_escape_is_a_fault() -> None:
    with pytest.raises(FlowError, match=r'"level" is the same for every event; an attribute is "%{level}"'):
        check('c : autoCollectorSource | switch("level") { "a" => file("/a"), else => file("/b") } ;')


def test_what_a_component_has_found_wrong_itself_is_said_once() -> None:
    with pytest.raises(FlowError) as caught:
        check(f'k : kafka("k1:9092", "t", member="3/2") | {SINK} ;')
    (message,) = [fault.message for fault in caught.value.found]
    assert "'3/2' is no share" in message


@pytest.mark.parametrize(
    ("source", "given", "why"),
    [
        ('syslogTcp(5140, timezone="Mars/Base")', '"Mars', '"Mars/Base" is no time zone'),
        ('syslogUdp(5140, host="not an address!")', '"not', "neither an IP address nor the name of a host"),
        ('syslogTls(6514, "")', '""', "it is empty"),
        ('netcat(6666, host="10.0.0.256")', '"10', "neither an IP address"),
        ('netcatUdp(6666, host="[::1]")', '"[', "neither an IP address"),
        ("netcat(6666, event_bytes=0)", "0)", "0 must be from 1"),
        ('http(8080, key="/x")', '"/x"', "certificate= is missing"),
        ('avro(41414, host="a..b")', '"a', "neither an IP address"),
        ('grpc(9000, host="-a")', '"-a', "neither an IP address"),
        ('otlp(host="a b")', '"a b', "neither an IP address"),
        ('tail("")', '""', "none that is empty"),
        ('tail("/x", rescan=0)', "0)", "more than 0"),
        ('tail("/x", multiline=multiline(start="("))', "multiline(", "no regular expression"),
        ('tail("/x", delim="</a>", delimMode=prev)', '"</a>', "has no counterpart"),
        ('multitail("")', '""', "none that is empty"),
        ('tailDir("/x", "(")', '"("', "no regular expression"),
        ('tailDir(groups=[group("a", "b")])', "[", "needs an absolute directory"),
        ('text("")', '""', "it is empty"),
        ('spoolDir("")', '""', "it is empty"),
        ('spoolDir("/x", include="(")', '"("', "no regular expression"),
        ('spoolDir("/x", suffix="")', '""', "names of files end in"),
        ('spoolDir("/x", deserializer=json, format=cri)', "cri", "makes none"),
        ('spoolDir("/x", deserializer=csv, quote=",")', '","', "must not be the delimiter"),
    ],
)
def test_argument_of_a_source_that_cannot_work_is_found_at_its_place(
    source: str, given: str, why: str
) -> None:
    with pytest.raises(FlowError) as caught:
        check(f"web : {source} | {SINK} ;")
    (fault,) = caught.value.found
    assert why in fault.message
    assert fault.place.column == len("web : ") + source.index(given) + 1


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "fe80::1%eth0", "127.1", "my_host-1.example.org.", "10.example"]
)
def test_address_that_some_host_may_have_is_no_fault(host: str) -> None:
    check(f'web : netcat(6666, host="{host}") | {SINK} ;')


@pytest.mark.parametrize(
    ("sink", "given", "why"),
    [
        ('file("/d", "w-", format="jsn")', '"jsn"', "did you mean 'json'"),
        ('file("~/d", "w-")', '"~/d"', "write the whole path"),
        ('file("/d", ".w")', '".w"', "hidden"),
        ('file("/d", "w-", open_files_max=0)', "0)", "use 1 to"),
    ],
)
def test_argument_of_a_sink_that_cannot_work_is_found_at_its_place(sink: str, given: str, why: str) -> None:
    with pytest.raises(FlowError) as caught:
        check(f"c : autoCollectorSource | {sink} ;")
    (fault,) = caught.value.found
    assert why in fault.message
    assert fault.place.column == len("c : autoCollectorSource | ") + sink.index(given) + 1
