"""Syslog messages and the attributes they become: RFC 5424, RFC 3164, and what is neither."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.syslog import columns as c
from agent.syslog import times
from agent.syslog.parse import bodies_of, parse
from agent.syslog.rfc5424 import SD_COLUMNS_MAX

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PEER = "192.0.2.7"


def rows(*messages: bytes, zone: str = "UTC", **options: Any) -> list[dict[str, Any]]:
    """Without what is null."""
    frames = pa.array(messages, pa.binary())
    made = parse(
        frames,
        lambda: pa.array([PEER] * len(messages), pa.string()),
        int(NOW.timestamp() * 1e9),
        ZoneInfo(zone),
        **options,
    )
    made.validate(full=True)
    assert made.num_rows == len(messages)
    assert made.column("body").null_count == 0
    return [{name: value for name, value in row.items() if value is not None} for row in made.to_pylist()]


def one(message: bytes, **options: Any) -> dict[str, Any]:
    """The same alone, and between others of every kind."""
    (alone,) = rows(message, **options)
    others = [
        b"<13>1 - h a p m - x",
        b"<13>Feb  5 17:32:18 h t: x",
        b"rubbish",
        b'<1>1 - h a - - [a b="c"] x',
        b"<13>1 yesterday h a p m - x",
    ]
    mixed = rows(*others[:2], message, *others[2:], **options)[2]
    assert mixed == alone
    return alone


NOTICE = {"priority": "INFO", "severity": "notice", "facility": "local4"}


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (  # RFC 5424, 6.5, example 1 (with the BOM)
            b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed",
            {"body": b"'su root' failed", "host": "mymachine.example.com", "app": "su", "msgid": "ID47",
             "timestamp": datetime(2003, 10, 11, 22, 14, 15, 3000, UTC),
             "priority": "FATAL", "severity": "crit", "facility": "auth"},
        ),
        (  # example 2
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            {"body": b"%% It's time to make the do-nuts.", "host": "192.0.2.1", "app": "myproc", "procid": "8710",
             "timestamp": datetime(2003, 8, 24, 12, 14, 15, 3, UTC), **NOTICE},
        ),
        (  # example 4: structured data alone
            b'<165>1 2003-10-11T22:14:15.003Z m evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App"][p@1 class="high"]',
            {"body": b"", "host": "m", "app": "evntslog", "msgid": "ID47",
             "timestamp": datetime(2003, 10, 11, 22, 14, 15, 3000, UTC), **NOTICE,
             "structured_data": '[exampleSDID@32473 iut="3" eventSource="App"][p@1 class="high"]',
             "exampleSDID@32473.iut": "3", "exampleSDID@32473.eventSource": "App", "p@1.class": "high"},
        ),
        (
            rb'<165>1 - - - - - [a b="x \"y\" \\ \] z"] rest] here',
            {"body": b"rest] here", "host": PEER, **NOTICE, "structured_data": r'[a b="x \"y\" \\ \] z"]',
             "a.b": 'x "y" \\ ] z'},
        ),
        (b"<165>1 - - - - - -", {"body": b"", "host": PEER, **NOTICE}),
        (b"<165>1 - - - - - - ", {"body": b"", "host": PEER, **NOTICE}),
        (b"<165>1 - h - - - [x] a\nb\0\xff", {"body": b"a\nb\0\xff", "host": "h", **NOTICE, "structured_data": "[x]"}),
        (  # RFC 3164, 5.4, example 1
            b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            {"body": b"'su root' failed for lonvick on /dev/pts/8", "host": "mymachine", "app": "su",
             "timestamp": datetime(2025, 10, 11, 22, 14, 15, tzinfo=UTC),
             "priority": "FATAL", "severity": "crit", "facility": "auth"},
        ),
        (  # example 2: no tag
            b"<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
            {"body": b"Use the BFG!", "host": "10.0.0.99", "timestamp": datetime(2025, 2, 5, 17, 32, 18, tzinfo=UTC),
             "priority": "INFO", "severity": "notice", "facility": "user"},
        ),
        (
            b"<0>Jan  2 03:04:05 web-1 nginx[4711]: 10.0.0.1 - - GET /a:b",
            {"body": b"10.0.0.1 - - GET /a:b", "host": "web-1", "app": "nginx", "procid": "4711", "timestamp": NOW,
             "priority": "FATAL", "severity": "emerg", "facility": "kern"},
        ),
        (  # as programs write to /dev/log: no host
            b"<165>Jan  2 03:04:05 cron[1]: job",
            {"body": b"job", "host": PEER, "app": "cron", "procid": "1", "timestamp": NOW, **NOTICE},
        ),
        (
            b"<165>Jan  2 03:04:05 alone",
            {"body": b"alone", "host": PEER, "timestamp": NOW, **NOTICE},
        ),
        (  # rsyslog's RSYSLOG_ForwardFormat
            b"<191>2026-01-02T04:04:05.000000+01:00 h tag[2]: x",
            {"body": b"x", "host": "h", "app": "tag", "procid": "2", "timestamp": NOW,
             "priority": "DEBUG", "severity": "debug", "facility": "local7"},
        ),
    ],
)  # fmt: skip
def test_message_becomes_attributes(message: bytes, wanted: dict[str, Any]) -> None:
    assert one(message) == wanted


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (b"", "no priority"),
        (b"hello", "no priority"),
        (b"<192>1 - h a p m - x", "no priority"),
        (b"<>x", "no priority"),
        (b"<a1>x", "no priority"),
        (b"<1234>x", "no priority"),
        (b"<\xd9\xa1>1 - h a p m - x", "no priority"),
        (b"<33>this is a test", "no timestamp"),
        (b"<33>Foo 11 22:14:15 h x", "no timestamp"),
        (b"<33>Feb 31 22:14:15 h x", "no timestamp"),
        (b"<33>2026-13-02T04:04:05Z h x", "no timestamp"),
        (b"<33>", "no timestamp"),
        (b"<33>1 ", "bad timestamp"),
        (b"<33>9999 Feb  1 22:14:15 h x", "no timestamp"),  # beyond 64 bits of nanoseconds
        (b"<33>1677 Feb  1 22:14:15 h x", "no timestamp"),
        (b"<33>2262-04-12T00:00:00Z h x", "no timestamp"),
        (b"<33>1 9999-12-31T23:59:59Z h a p m - x", "bad timestamp"),
        (b"<33>1 1500-01-01T00:00:00 h a p m - x", "bad timestamp"),
        (b"<33>1 - h a p m", "bad header"),
        (b"<33>1 - h a p m x", "bad header"),
        (b"<33>1 yesterday h a p m - x", "bad timestamp"),
        (b"<33>1 2026-02-30T00:00:00Z h a p m - x", "bad timestamp"),
        (b'<33>1 - h a p m [a b="c', "bad structured data"),
        (b'<33>1 - h a p m [a b="c\\] x', "bad structured data"),
        (b'<33>1 - h a p m [a b=""c"] x', "bad structured data"),
    ],
)
def test_what_is_neither_stays_whole_and_says_why(message: bytes, why: str) -> None:
    row = one(message)
    assert (row["body"], row[c.ERROR], row["host"]) == (message, why, PEER)
    assert set(row) <= {"body", c.ERROR, "host", "priority", "severity", "facility"}
    assert ("severity" in row) == message.startswith(b"<33>")


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("message", "wanted"),
    [  # what Cisco's and others' devices write, which rsyslog and syslog-ng take
        (b"AUG 10 22:18:24 h t: x", (at(2025, 8, 10, 22, 18, 24), "h", "t", b"x")),
        (b"Mar 7 19:06:53 h t: x", (at(2025, 3, 7, 19, 6, 53), "h", "t", b"x")),
        (b" Mar  7 19:06:53 h t: x", (at(2025, 3, 7, 19, 6, 53), "h", "t", b"x")),
        (b"Mar  7 2008 19:06:53: h t: x", (at(2008, 3, 7, 19, 6, 53), "h", "t", b"x")),
        (b"2008 Mar  7 19:06:53 h t: x", (at(2008, 3, 7, 19, 6, 53), "h", "t", b"x")),
        (b"Mar  7 19:06:53.25 h t: x", (at(2025, 3, 7, 19, 6, 53, 250_000), "h", "t", b"x")),
        (b"29: *Mar  1 00:00:01.123: %SYS-5-UP: x", (at(2025, 3, 1, 0, 0, 1, 123_000), PEER, "%SYS-5-UP", b"x")),
        (b"7: r1: 8: .Mar  1 12:00:00 UTC: %SYS-5-UP: x", (at(2025, 3, 1, 12), "r1", "%SYS-5-UP", b"x")),
        (b"*Mar  1 12:00:00 CET: %SYS-5-UP: x", (at(2025, 3, 1, 12), PEER, "%SYS-5-UP", b"x")),
        (b"78: Aug 24 2013 05:34:00: h %ASA-1: x", (at(2013, 8, 24, 5, 34), "h", "%ASA-1", b"x")),
        (b"Aug 30 23:00:05", (at(2025, 8, 30, 23, 0, 5), PEER, None, b"")),
        # ISO 8601 beyond RFC 3339
        (b"2026-01-02T03:04:05 h t: x", (NOW, "h", "t", b"x")),
        (b"2026-01-02T04:04:05+0100 h t: x", (NOW, "h", "t", b"x")),
        (b"2026-01-02T03:04:05,5Z h t: x", (NOW + timedelta(milliseconds=500), "h", "t", b"x")),
        (b"2026-01-02T03:04:05.5000000000000Z h t: x", (NOW + timedelta(milliseconds=500), "h", "t", b"x")),
        # hosts and tags
        (b"Jan  2 03:04:05  h t: x", (NOW, "h", "t", b"x")),
        (b"Jan  2 03:04:05 fe80::1 t: x", (NOW, "fe80::1", "t", b"x")),
        (b"Jan  2 03:04:05 2001:db8:: t: x", (NOW, "2001:db8::", "t", b"x")),
        (b'Jan  2 03:04:05 h {"a": 1, "b": 2}', (NOW, "h", None, b'{"a": 1, "b": 2}')),
        (b"Jan  2 03:04:05 h k=1:2 x", (NOW, "h", None, b"k=1:2 x")),
        (b"Jan  2 03:04:05 h [core:error] x", (NOW, "h", None, b"[core:error] x")),
        (b"Jan  2 03:04:05 h http://a/b x", (NOW, "h", None, b"http://a/b x")),
        (b"Jan  2 03:04:05 h sshd(pam_unix)[12]: x", (NOW, "h", "sshd(pam_unix)", b"x")),
        (b"Jan  2 03:04:05 h (sd-pam)[12]: x", (NOW, "h", "(sd-pam)", b"x")),
        (b"Jan  2 03:04:05 h t[12] no colon: x", (NOW, "h", "t", b"no colon: x")),
    ],
)  # fmt: skip
def test_what_devices_write_becomes_attributes(
    message: bytes, wanted: tuple[datetime, str, str | None, bytes]
) -> None:
    row = one(b"<165>" + message)
    assert (row["timestamp"], row["host"], row.get("app"), row["body"]) == wanted
    assert c.ERROR not in row


@pytest.mark.parametrize("other", ["2026-01-02T03:04:05Z", "2026-02-30T03:04:05Z", "9999-12-31T23:59:59Z"])
def test_nanoseconds_stay_whatever_else_is_in_the_batch(other: str) -> None:
    stamps = ["2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456789", other]
    found = times.rfc3339(pa.array(stamps), UTC).cast(pa.int64()).to_pylist()
    assert found[:2] == [int(NOW.timestamp()) * 10**9 + 123_456_789] * 2


def test_new_format_takes_a_timestamp_without_a_zone() -> None:
    row = one(b"<13>1 2026-01-02T04:04:05 h a p m - x", zone="Europe/Paris")
    assert (row["timestamp"], row["body"]) == (NOW, b"x")


@pytest.mark.parametrize("stamp", [b"2026-01-02T03Z", b"2026-01-02T03:00Z", b"2026-01-02T04+01"])
def test_new_format_takes_a_timestamp_of_hours(stamp: bytes) -> None:
    row = one(b"<13>1 " + stamp + b" h a p m - x")
    assert (row["timestamp"], row["body"]) == (NOW.replace(minute=0, second=0), b"x")


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'[a b="x] y"]', "x] y"),  # should be escaped, and can be told by its quotes
        (b'[a b="]x"]', "]x"),
        (rb'[a b="\] \" z"]', '] " z'),
    ],
)
def test_value_of_structured_data_ends_at_its_quote(data: bytes, value: str) -> None:
    row = one(b"<13>1 - h a p m " + data + b" rest] here")
    assert (row["a.b"], row["structured_data"], row["body"]) == (value, data.decode(), b"rest] here")


def test_errors_are_counted() -> None:
    counts: dict[str, int] = {}
    rows(b"x", b"<13>1 - h a p m - x", b"y", count=counts.__setitem__)
    assert counts == {"events_unparsed": 2}


def test_whole_keeps_the_header_in_the_body() -> None:
    message = b"<34>Oct 11 22:14:15 mymachine su: x"
    assert one(message, whole=True) == {**one(message), "body": message}


def test_old_timestamp_is_local_to_the_zone_and_of_the_year_it_must_be() -> None:
    def at(text: bytes, zone: str = "UTC") -> datetime:
        stamp = one(b"<1>" + text + b" h t: x", zone=zone)["timestamp"]
        assert isinstance(stamp, datetime)
        return stamp

    assert at(b"Jan  2 03:04:05", "Europe/Paris") == NOW - timedelta(hours=1)
    assert at(b"Jul  2 03:04:05", "America/New_York") == datetime(2025, 7, 2, 7, 4, 5, tzinfo=UTC)
    assert at(b"Dec 31 23:59:59") == datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert at(b"Jan  3 03:00:00").year == 2026  # a clock, or a zone, that is ahead
    assert at(b"Jan  4 03:00:00").year == 2025
    assert at(b"Feb 29 00:00:00").year == 2024


def test_header_that_is_no_utf8_is_mended_and_the_body_left_alone() -> None:
    row = one(b"<13>1 - h\xff a p m - \xff\xfe")
    assert (row["host"], row["body"]) == ("h\ufffd", b"\xff\xfe")


def test_structured_data_has_so_many_columns_and_the_rest_as_text() -> None:
    text = b"[a " + b" ".join(b'p%d="%d"' % (each, each) for each in range(SD_COLUMNS_MAX + 5)) + b"]"
    counts: dict[str, int] = {}
    (row,) = rows(b"<13>1 - h a p m " + text + b" x", count=counts.__setitem__)
    assert len([name for name in row if name.startswith("a.")]) == SD_COLUMNS_MAX
    assert row["structured_data"] == text.decode()
    assert counts == {"structured_data_not_columns": 5}


def test_lines_are_bodies() -> None:
    assert bodies_of(b"a\n\nb\n").to_pylist() == [b"a", b"", b"b"]
    assert bodies_of(b"").to_pylist() == []


WORDS = st.sampled_from(
    [b"<13>", b"<191>", b"<", b">", b"1 ", b"- ", b"-", b" ", b"[", b"]", b"] ", b'"', b"\\", b'[a b="c"]', b"h ", b"\n",
     b"2026-01-02T03:04:05Z ", b"2026-02-31T03:04:05Z ", b"Jan  2 03:04:05 ", b"Feb 30 03:04:05 ", b"tag[1]: ", b":",
     b"29: ", b"*", b"2008 ", b"MAR 7 ", b"19:06:53", b".5", b" UTC:", b"2026-01-02T03:04:05 ", b"tag[1] ", b'"', b'b="',
     b"9999-12-31T23:59:59Z ", b"1500-01-01T00:00:00 ", b"9999 ", b"\xff", b"\0", b"\xef\xbb\xbf", b"9" * 30]
)  # fmt: skip
NEARLY = st.lists(WORDS | st.binary(max_size=6), max_size=14).map(b"".join)


@given(st.lists(NEARLY | st.binary(max_size=60), min_size=1, max_size=12))
def test_parser_takes_anything(messages: list[bytes]) -> None:
    together = rows(*messages)
    for message, row in zip(messages, together, strict=True):
        if c.ERROR in row:
            assert row["body"] == message
        else:
            assert message.endswith(row["body"])
            assert {"host", "severity", "facility", "priority"} <= set(row)
        assert rows(message) == [row]
