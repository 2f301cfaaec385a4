"""Decorators that read something out of bodies: what they find, and what becomes of events in which there is nothing."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat import columns
from qanat.decorators.common import grok_patterns, rows
from qanat.decorators.common.objects import Objects
from qanat.decorators.common.patterns import Extraction
from qanat.errors import ConfigError
from tests.unit.decorators.batches import Counts, chain, context, events, lines, positions, run

ERROR = "decorator_error"


def found(text: str, *bodies: bytes, **attributes: str) -> list[dict[str, Any]]:
    """Attributes, without the body."""
    result = run(text, *bodies, **attributes)
    for each in result:
        del each["body"]
    return result


def test_regex_finds_a_group_and_marks_events_without_it() -> None:
    assert found(r'regex("level=(\\w+)", 1, "level")', b"level=INFO x", b"none") == [
        {"level": "INFO"},
        {ERROR: "regex: the pattern is not found"},
    ]


def test_what_a_pattern_finds_does_not_depend_on_other_events_of_the_batch() -> None:
    pattern = r'regex("(.)$", 0, "last", on_error=ignore)'
    alone = [found(pattern, body) for body in ("aé".encode(), b"a\xff", b"a")]
    assert found(pattern, "aé".encode(), b"a\xff", b"a") == [one for (one,) in alone]
    assert [one["last"] for (one,) in alone] == ["é", "\\xff", "a"]


def test_an_event_keeps_the_attribute_that_it_had_where_nothing_is_found() -> None:
    text = r'regex("a=(\\d)", 1, "x") regex("b=(\\d)", 1, "x", on_error=ignore)'
    assert [one["x"] for one in found(text, b"a=1", b"a=1 b=2")] == ["1", "2"]


@pytest.mark.parametrize(
    ("policy", "kept", "counted"),
    [
        ("drop", 1, {"events_unreadable": 1, "events_unreadable_dropped": 1}),
        ("ignore", 2, {}),
        ("keep", 2, {"events_unreadable": 1}),
    ],
)
def test_events_that_cant_be_read_follow_the_policy(policy: str, kept: int, counted: dict[str, int]) -> None:
    counts = Counts()
    result = chain(rf'regex("(\\d)", 1, "x", on_error={policy})', context(count=counts)).apply(
        lines(b"1", b"none")
    )
    assert (result.count, result.start, result.end, dict(counts)) == (kept, 0, 7, counted)


def test_dead_letters_are_files_that_hold_the_events_durably(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Any] = []
    monkeypatch.setattr("qanat.durable.sync_directory", synced.append)
    of = context(tmp_path)
    text = r'regex("(\\d)", 1, "x", on_error="dead-letter")'
    for _ in range(2):  # repeating is harmless
        result = chain(text, of).apply(lines(b"1", b"bad", b"2"))
    assert positions(result) == [0, 6]
    (file,) = (tmp_path / "dead-letters").iterdir()
    assert file.name == "regex-s-2-2.batch"
    assert b"bad" in file.read_bytes()
    assert synced == [file.parent] * 2


def test_regex_all_takes_names_from_arguments_or_groups() -> None:
    assert found(r'regexAll("(\\S+) (?P<path>\\S+)( x)?", "verb", "where")', b"GET /a") == [
        {"verb": "GET", "where": "/a"}
    ]
    assert found(r'regexAll("(\\S+) (?P<path>\\S+)")', b"GET /a") == [{"path": "/a"}]


@pytest.mark.parametrize("index", [0, 1, 2, -1, -3, 3, 60])
def test_split_gives_the_part_that_python_would(index: int) -> None:
    for body in (b"1,2,3", b"one", b",", b"1,,2", b"\xff,\xfe,x"):
        parts = body.split(b",")
        (event,) = found(f'split(",", {index}, "part")', body)
        if -len(parts) <= index < len(parts):
            assert event == {"part": parts[index].decode(errors="backslashreplace")}
        else:
            assert event == {ERROR: f"split: there is no part {index}"}


def test_json_members_are_text() -> None:
    body = b'{"a":1,"b":"x","c":null,"d":[1,{"e":2.5}],"body":"b","f":true,"g":1.0,"h":123456789012345678901234567890}'
    assert found("json", body, b'{"a":"y"}') == [
        {
            "a": "1",
            "b": "x",
            "d": '[1,{"e":2.5}]',
            "attribute.body": "b",
            "f": "true",
            "g": "1.0",
            "h": "123456789012345678901234567890",
        },
        {"a": "y"},
    ]


def test_json_keys_lead_into_objects() -> None:
    assert found('json("a.b", "c")', b'{"a":{"b":1},"c":2,"d":3}', b'{"a.b":"own"}', b'{"a":[]}') == [
        {"a.b": "1", "c": "2"},
        {"a.b": "own"},
        {},
    ]


@pytest.mark.parametrize(
    "bad", [b"", b"x", b"[1]", b'"s"', b"7", b"{", b'{"a":"\xff"}', b"[" * 100_000, b'{"a":1}{"b":2}']
)
def test_what_is_no_json_object_is_marked_and_the_others_are_read(bad: bytes) -> None:
    good, wrong, last = found("json", b'{"a":1}', bad, b'{"a":2}')
    assert (good, last) == ({"a": "1"}, {"a": "2"})
    assert wrong == {ERROR: "json: no JSON object"}


def test_json_events_do_not_complete_each_other() -> None:
    split = [b'{"a":[1', b"2]}", b'{"a":1},{"a":2}', b'{"a":3},7,{"a":4}', b'{"a":5}']
    assert [one.get("a") for one in found("json", *split)] == [None, None, None, None, "5"]


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.dictionaries(
                st.text(max_size=3),
                st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
            ),
        ),
        max_size=5,
    )
)
def test_objects_of_a_block_are_read_as_each_alone(values: list[Any]) -> None:
    raw = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    together, failed = Objects([]).read(pa.array(raw, pa.binary()))
    for number, one in enumerate(raw):
        alone, alone_failed = Objects([]).read(pa.array([one], pa.binary()))
        assert failed[number].as_py() == alone_failed[0].as_py()
        for key, column in together.items():
            assert column[number].as_py() == (alone[key][0].as_py() if key in alone else None)


def test_logfmt_reads_pairs() -> None:
    body = b'level=info msg="two \\"words\\" x=1" ok n= q="" url=http://a/?b=c'
    assert found("logfmt", body, b"nothing here", b"a=1 a=2") == [
        {"level": "info", "msg": 'two "words" x=1', "n": "", "q": "", "url": "http://a/?b=c"},
        {ERROR: "logfmt: no key=value"},
        {"a": "2"},
    ]
    escaped = rb'a="x\ny\t\\n" b="\u00e9\ud83d\ude00" c="\ud83d" d="\q" e=\n'
    assert found("logfmt", escaped) == [
        {"a": "x\ny\t\\n", "b": "é\U0001f600", "c": "\ufffd", "d": "q", "e": "\\n"}
    ]
    assert found('logfmt("n", "level")', b"level=a n=1", b"n=2") == [{"level": "a", "n": "1"}, {"n": "2"}]


def test_grok_knows_logstashs_patterns() -> None:
    body = (
        b'127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://x/" "Mozilla"'
    )
    (event,) = found('grok("%{COMBINEDAPACHELOG}")', body)
    wanted = {"clientip": "127.0.0.1", "auth": "frank", "verb": "GET", "request": "/a.gif", "response": "200"}
    assert wanted.items() <= event.items()
    own = r'grok("^%{TICKET:id} %{GREEDYDATA:rest}$", definitions=["TICKET [A-Z]+-\\d+"])'
    assert found(own, b"AB-12 x y") == [{"id": "AB-12", "rest": "x y"}]


@pytest.mark.parametrize("name", sorted(grok_patterns.PATTERNS))
def test_every_pattern_of_grok_is_one_of_re2(name: str) -> None:
    pattern, names = grok_patterns.expanded(f"%{{{name}:all_of_it}}", [])
    assert Extraction(pattern, list(names)).find(pa.array(["x"])) is not None


@pytest.mark.parametrize(
    ("name", "body", "wanted"),
    [
        ("SYSLOGLINE", b"Mar  6 00:01:25 h app/x[17]: hi", {"logsource": "h", "program": "app/x", "pid": "17", "message": "hi"}),
        ("SYSLOGLINE", b"2026-03-06T00:01:25Z h hi", {"timestamp8601": "2026-03-06T00:01:25Z", "message": "hi"}),
        ("CRONLOG", b"Mar  6 00:01:25 h CRON[1]: (root) CMD (ls)", {"user": "root", "action": "CMD", "message": "ls"}),
        ("SYSLOG5424LINE", b'<13>1 2026-01-01T00:00:00Z h a - m [x y="]"] hi',
         {"syslog5424_app": "a", "syslog5424_sd": '[x y="]"]', "syslog5424_msg": "hi"}),
        ("HTTPD_ERRORLOG", b"[Mon Aug 31 06:29:47.406518 2026] [core:notice] [pid 7:tid 8] [client 10.0.0.1:99] AH9: on",
         {"module": "core", "loglevel": "notice", "pid": "7", "tid": "8", "clientip": "10.0.0.1",
          "errorcode": "AH9", "message": "on"}),
        ("HAPROXYHTTP",
         b'Dec  9 13:01:26 lb haproxy[2]: 10.0.0.1:39 [09/Dec/2026:12:59:46.633] in~ be/s1 0/1/2/3/4 200 5 - - ---- '
         b'1/2/3/4/0 0/0 {host} {} "GET /a?b=c HTTP/1.1"',
         {"frontend_name": "in~", "server_name": "s1", "http_status_code": "200", "captured_request_headers": "host",
          "http_request": "/a?b=c", "accept_date": "09/Dec/2026:12:59:46.633"}),
        ("JAVASTACKTRACEPART", b"\tat a.b.C$D.m(C.java:42)", {"class": "a.b.C$D", "method": "m", "file": "C.java", "line": "42"}),
        ("HTTPDATE", b"04/Mai/2026:13:17:15 +0200", {}),
    ],
)  # fmt: skip
def test_grok_knows_formats(name: str, body: bytes, wanted: dict[str, str]) -> None:
    (event,) = found(f'grok("%{{{name}:all_of_it}}")', body)
    assert wanted.items() <= event.items()
    assert ERROR not in event
    assert "" not in event.values()  # what took no part in the match


@pytest.mark.parametrize(
    ("body", "address"),
    [
        (b"12:34:56 10.0.0.1", "10.0.0.1"),  # a time is no address
        (b"from 2001:db8::1, on", "2001:db8::1"),
        (b"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        (b"::ffff:10.0.0.1", "::ffff:10.0.0.1"),
        (b"64:ff9b::10.0.0.1", "64:ff9b::10.0.0.1"),
        (b"2001:db8:0:0:1::5", "2001:db8:0:0:1::5"),
        (b"2001:db8::", "2001:db8::"),
        (b"::1", "::1"),
        (b"fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_grok_knows_addresses(body: bytes, address: str) -> None:
    assert found('grok("%{IP:ip}")', body) == [{"ip": address}]


def test_grok_names_attributes_as_logstash_does() -> None:
    text = 'grok("%{TIMESTAMP_ISO8601:timestamp} %{LOGLEVEL:[log][level]} %{INT:ms:int}(?: %{WORD:who})?")'
    assert found(text, b"2026-01-01T00:00:00Z INFO 12") == [
        {"timestamp_text": "2026-01-01T00:00:00Z", "log.level": "INFO", "ms": "12"}
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('regex("(a", 1, "x")', "is no regular expression of RE2"),
        ('regex("(?=a)", 0, "x")', "RE2 has no look-around"),
        ('regex("a", 1, "x")', "has 0 groups"),
        ('regex("a", 0, "body")', "can't be called"),
        ('regexAll("a(b)")', "has no named group"),
        ('grok("%{NOPE:x}")', 'no pattern "NOPE"'),
        ('grok("%{WORD}")', "makes no attribute"),
        ('grok("%{INT:a:integer}")', "TYPE is int, float or string"),
        ('grok("%{X:a}", definitions=["X (?>a)b"])', "for (?>a) and a++ write (?:a) and a+"),
        ('timestamp("%Q")', "'%Q' is not known"),
        ('timestamp("%j %H:%M")', "the day of a year, and no year"),
        ('exDate("a", "qq")', "letter 'q' is not known"),
        ("filter", "has no condition"),
        ("mask", "masks nothing"),
        ('digest("nope", "x")', "no message digest"),
        ('searchReplace("a", "$3")', "does not go with"),
        ('python("x")', "names no function"),
        ('value("a", "%q", escape=true)', "unknown escape"),
    ],
)
def test_what_cant_work_is_found_before_anything_runs(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        chain(text)
    assert why in str(refused.value)


def test_every_decorator_takes_an_empty_column_of_events() -> None:
    texts = [
        'regex("(a)", 1, "x")',
        "json",
        "logfmt",
        "timestamp",
        "uuid",
        'split(",", 1, "x")',
        'format("%{body}")',
    ]
    for text in texts:
        empty = columns.kept(columns.to_columns(lines(b"x")), pa.array([False]))
        result = chain(text)._decorators[0].apply(empty)  # a chain leaves out what has no events
        assert (result.count, rows.record(result).num_rows, events(result)) == (0, 0, [])
