"""Decorators that change, remove or mark events, and what all of them leave alone: positions."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.decorated import PART_BYTES_MAX, DecoratedSource
from qanat import columns
from qanat.batch import Batch, PayloadForm
from qanat.chain import Chain
from qanat.decorators.common import rows
from qanat.errors import ConfigError, RetryableError
from qanat.limits import BATCH_BYTES_MAX
from qanat.throttle import Limit, Throttles
from tests.unit.decorators.batches import Counts, chain, context, events, lines, positions, run

# What 64 bits of nanoseconds hold, nearly.
FIRST, LAST = datetime.fromisoformat("1700-01-01"), datetime.fromisoformat("2261-01-01")


def bodies(text: str, *given: bytes, **attributes: str) -> list[bytes]:
    return [event["body"] for event in run(text, *given, **attributes)]


def test_filtered_batch_covers_the_range_that_it_covered() -> None:
    result = chain('filter("b")').apply(lines(b"ab", b"x", b"b", start=100))
    assert (result.start, result.end, result.count, positions(result)) == (100, 107, 2, [100, 105])


def test_batch_stays_lines_where_nothing_but_shared_attributes_changed() -> None:
    batch = lines(b"ab", b"b")
    result = chain('filter("b") value("k", "v")').apply(batch)
    assert result.form is PayloadForm.LINES
    assert result.payload is batch.payload
    assert result.attributes == {"k": "v"}


def test_batch_without_events_is_lines_and_keeps_its_range() -> None:
    result = chain('drop("") regex("(a)", 1, "x")').apply(lines(b"ab", b"b"))
    assert (result.form, result.payload, result.count, result.end) == (PayloadForm.LINES, b"", 0, 5)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("filter(gt=2)", [b"3", b" 4.5 "]),
        ("filter(ge=2, lt=4)", [b"2", b"3"]),
        ("drop(ge=2)", [b"1", b"x"]),
        ('filter(equals=["1", "x"])', [b"1", b"x"]),
        (r'filter("\\d", le=2)', [b"1", b"2"]),
    ],
)
def test_conditions_hold_together(text: str, kept: list[bytes]) -> None:
    assert bodies(text, b"1", b"2", b"3", b" 4.5 ", b"x") == kept


def test_an_event_without_the_attribute_fulfils_no_condition() -> None:
    assert bodies('filter(attribute="level", equals="E")', b"a") == []
    assert bodies('drop(attribute="level", equals="E")', b"a") == [b"a"]


def test_masks_what_must_not_be_stored() -> None:
    given = [
        b"4111 1111 1111 1111 and 378282246310005",
        b"m.x+y@example.co.uk at 10.1.2.3",
        b"2026-08-31T12:00:00 1693483200000 12:30:45 v1.2.3",
        b"2001:db8:85a3:0:0:8a2e:370:7334 fe80::1:2",
    ]
    assert bodies('mask(bodies=["card", "email", "ip"])', *given) == [
        b"************1111 and ************0005",
        b"*****@***** at *.*.*.*",
        given[2],
        b"*.*.*.* *.*.*.*",
    ]


@pytest.mark.parametrize(
    ("kind", "body", "masked"),
    [
        ("card", b"4242424242424242 6205500000000000004", b"************4242 ************0004"),
        ("card", b"card_4242424242424242_x", b"card_************4242_x"),
        ("card", rb'{"a":"x\n4242424242424242"}', rb'{"a":"x\n************4242"}'),
        ("card", b"4242.4242.4242.4242,4242-4242-4242-4242", b"************4242,************4242"),
        ("card", b"4123.456789012345 a4242424242424242 14242424242424242", None),
        ("email", b"o'brien@x.com <a@b.co>. f@x.com_y", b"*****@***** <*****@*****>. *****@*****_y"),
        ("email", "josé@exämple.de".encode(), b"*****@*****"),
        ("email", b"a@localhost @b a@@b.c", None),
        (
            "ip",
            b"::1 ::1,fe80::1 2001:db8:: [2001:db8::1]:80",
            b"*.*.*.* *.*.*.*,*.*.*.* *.*.*.* [*.*.*.*]:80",
        ),
        ("ip", b"::ffff:10.0.0.1 ip_10.0.0.1 10.0.0.1:80", b"*.*.*.* ip_*.*.*.* *.*.*.*:80"),
        ("ip", b"[10/Oct/2000:13:55:36 -0700] aa:bb:cc:dd:ee:ff std::abc::f a :: b 10:20:30:40", None),
    ],
)
def test_mask_finds_all_and_leaves_what_only_looks_alike(
    kind: str, body: bytes, masked: bytes | None
) -> None:
    assert bodies(f'mask(bodies=["{kind}"])', body) == [body if masked is None else masked]


def test_attributes_are_masked_selected_and_renamed() -> None:
    text = 'json value("k", "v") mask("b") select("a", "k", "c") rename("a", "z") rename("missing", "y")'
    (event,) = run(text, b'{"a":"1","b":"2","c":"3","d":"4"}', host="h", file="f")
    assert event == {"body": b'{"a":"1","b":"2","c":"3","d":"4"}', "z": "1", "k": "v", "c": "3", "host": "h"}


def test_search_replace_takes_javas_groups_and_any_bytes() -> None:
    text = r'searchReplace("pass=(\\w+)", "pass=<$1>\\$")'
    assert bodies(text, b"pass=abc", b"none", b"\xff pass=\xfe pass=q") == [
        b"pass=<abc>$",
        b"none",
        b"\xff pass=\xfe pass=<q>$",
    ]


def test_format_and_value_expand_escapes() -> None:
    assert bodies('format("%{h}:%{body}:%Y-%m-%d:%s:%%:%{no}")', b"a", b"\xff", h="w") == [
        b"w:a:2026-08-31:1788177600:%:",
        b"w:\xff:2026-08-31:1788177600:%:",
    ]
    assert run('value("k", "%{h}-%H", escape=true)', b"a", h="w")[0]["k"] == "w-12"


def test_static_and_host_leave_what_is_there() -> None:
    (event,) = run(
        'static("a", "1") static("b", "1", preserveExisting=false) host host("via")',
        b"x",
        a="0",
        b="0",
        host="h",
    )
    assert event == {"a": "0", "b": "1", "host": "h", "via": "web01", "body": b"x"}


@pytest.mark.parametrize(
    ("text", "body", "wanted"),
    [
        ("timestamp", b"at 2026-08-31 14:00:00.123+02:00 x", "2026-08-31T12:00:00.123"),
        ("timestamp", b"1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500"),
        ("timestamp", b"2024-02-29T00:00:00", "2024-02-29T00:00:00"),
        ('timestamp("%d/%b/%Y:%H:%M:%S %z")', b"[10/Oct/2000:13:55:36 -0700]", "2000-10-10T20:55:36"),
        (
            'timestamp("%b %d %H:%M:%S", timezone="Europe/Berlin")',
            b"Aug  1 10:00:00 h",
            "2026-08-01T08:00:00",
        ),
        ('timestamp("%b %d %H:%M:%S")', b"Sep 02 10:00:00 h", "2025-09-02T10:00:00"),
        ('timestamp("%s")', b"1693483200.25", "2023-08-31T12:00:00.250"),
        ('timestamp("%s")', b"1693483200000", "2023-08-31T12:00:00"),
        ('timestamp("%I:%M %p %m/%d/%y")', b"12:05 AM 1/2/26", "2026-01-02T00:05:00"),
        ('timestamp("rfc3339", "%F")', b"2026-08-30", "2026-08-30T00:00:00"),
        ("timestamp", b"2026-01-02T03:04:05.1250000000000+02:00", "2026-01-02T01:04:05.125"),
        ('timestamp("%Y-%j")', b"2026-032", "2026-02-01T00:00:00"),
        ('timestamp("%y.%j %H")', b"24.366 7", "2024-12-31T07:00:00"),
        ('timestamp("%H:%M:%S")', b"11:59:59 x", "2026-08-31T11:59:59"),
        ('timestamp("%H:%M:%S")', b"23:59:59 x", "2026-08-31T23:59:59"),
        ('timestamp("%H:%M:%S", timezone="Asia/Tokyo")', b"00:30:00", "2026-08-30T15:30:00"),
    ],
)
def test_timestamp_is_read(text: str, body: bytes, wanted: str) -> None:
    (event,) = run(text, body)
    assert event["timestamp"] == datetime.fromisoformat(wanted).replace(tzinfo=UTC)
    assert event.get("decorator_error") is None


@pytest.mark.parametrize("number", ["9223372036854775808", "9999999999999999999", "1" * 40])
def test_number_that_is_no_time_spoils_no_other_events(number: str) -> None:
    spoilt, other = run('timestamp("%s")', number.encode(), b"1693483200")
    assert spoilt["decorator_error"] == "timestamp: no time is found"
    assert other["timestamp"] == datetime(2023, 8, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("body", [b"2026-366", b"2026-000", b"2026-999"])
def test_day_that_a_year_does_not_have_is_no_time(body: bytes) -> None:
    (event,) = run('timestamp("%Y-%j")', body)
    assert event["decorator_error"] == "timestamp: no time is found"


@pytest.mark.parametrize(
    "body", [b"none", b"2026-02-30T00:00:00Z", b"2026-08-31T25:00:00Z", b"9999-01-01T00:00:00Z"]
)
def test_event_without_a_time_keeps_the_one_that_it_had(body: bytes) -> None:
    (event,) = run("timestamp", body)
    assert event["timestamp"] == datetime(2026, 8, 31, 12, tzinfo=UTC)
    assert event["decorator_error"] == "timestamp: no time is found"


@given(st.datetimes(FIRST, LAST))
def test_any_time_is_read_as_it_was_written(at: datetime) -> None:
    (event,) = run("timestamp", at.replace(tzinfo=UTC).isoformat().encode())
    assert event["timestamp"] == at.replace(tzinfo=UTC)


def test_ex_date_gives_the_parts() -> None:
    text = 'value("at", "{}") exDate("at", "{}"{})'
    (event,) = run(text.format("1/Feb/2010 3:04:05", "dd/MMM/yyyy HH:mm:ss", ""), b"x")
    named = {name: event[f"date{name}"] for name in ("day", "month", "year", "hr", "min", "sec")}
    assert named == {"day": "01", "month": "02", "year": "2010", "hr": "03", "min": "04", "sec": "05"}
    (event,) = run(text.format("2010-1-1", "yyyy-MM-dd", ', "d", false'), b"x")
    assert (event["dday"], event["dmonth"], event["dhr"]) == ("1", "1", "0")


def test_digest_is_of_the_body() -> None:
    (event,) = run('digest("SHA-1", "d") digest("MD5", "e", base64=true)', b"abc")
    assert (event["d"], event["e"]) == (
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "kAFQmDzST7DWlj99KOF/cg==",
    )


@pytest.mark.parametrize(
    "text", ["probSampler(0.3)", "intervalSampler(4)", "uuid", "intervalDroppyAppend(3)"]
)
def test_chance_decides_alike_however_events_come(text: str) -> None:
    given = [b"%d" % number for number in range(500)]
    whole = lines(*given)
    parts = [
        columns.slice_positions(columns.to_columns(whole), *cut)
        for cut in ((0, 400), (400, 1390), (1390, whole.end))
    ]
    apart = [event for part in parts for event in events(chain(text).apply(part))]
    assert events(chain(text).apply(whole)) == apart
    assert 0 < len(apart) <= 500


def test_samplers_keep_about_as_many_as_they_are_told() -> None:
    given = [b"%d" % number for number in range(10_000)]
    assert 2_700 < len(run("probSampler(0.3)", *given)) < 3_300
    assert 850 < len(run("intervalSampler(10)", *given)) < 1_150
    assert len(run("reservoirSampler(7)", *given)) == 7
    assert (len(run("probSampler(0)", *given)), len(run("probSampler(1)", *given))) == (0, 10_000)
    assert len({event["uuid"] for event in run("uuid", *given)}) == 10_000


def shout(events: pa.RecordBatch) -> pa.RecordBatch:
    upper = pc.utf8_upper(events.column("body").cast(pa.string())).cast(pa.binary())
    return events.set_column(0, columns.REQUIRED.field("body"), upper).filter(pc.not_equal(upper, b"B"))


def moves(events: pa.RecordBatch) -> pa.RecordBatch:
    return events.take(pa.array([1, 0]))


def test_python_calls_a_function_of_ones_own() -> None:
    assert bodies(f'python("{__name__}:shout")', b"a", b"b") == [b"A"]
    with pytest.raises(ConfigError, match="install the module"):
        chain('python("nowhere.at:all")')


def ends(events: pa.RecordBatch) -> pa.RecordBatch:
    sys.exit(3)


@pytest.mark.parametrize(("function", "why"), [("moves", "in another order"), ("ends", "sys.exit(3)")])
def test_batch_goes_on_as_it_came_when_a_decorator_fails(function: str, why: str) -> None:
    counts = Counts()
    batch = lines(b"a", b"b")
    result = chain(f'python("{__name__}:{function}")', context(count=counts)).apply(batch)
    assert result.payload == batch.payload
    assert why in result.attributes["decorator_error"]
    assert counts == {"decorator_failures": 1}


def test_module_that_cannot_be_imported_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with_a_fault.py").write_text("def enrich(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="importing the module fails: SyntaxError"):
        chain('python("with_a_fault:enrich")')


def test_flakey_decorators_ask_for_another_attempt() -> None:
    flakey = chain("intervalFlakeyAppend(2)")
    assert flakey.apply(lines(b"a")).count == 1
    with pytest.raises(RetryableError):
        flakey.apply(lines(b"a"))
    assert flakey.apply(lines(b"a")).count == 1


class Once:
    """A source with one batch; only what is asked of it here."""

    def __init__(self, batch: Batch) -> None:
        self.batches = [batch]

    def read(self, max_bytes: int) -> Batch | None:
        return self.batches.pop(0) if self.batches else None

    def is_held_back(self) -> bool:
        return False


def source(text: str, batch: Batch, throttles: Throttles | None = None) -> DecoratedSource:
    of = context(throttles=throttles)
    return DecoratedSource(Once(batch), chain(text, of), of)  # type: ignore[arg-type]


def test_what_gets_too_large_for_a_batch_goes_on_in_several() -> None:
    batch = lines(*[b"%06d" % number + b"x" * 3_000 for number in range(300)])
    several = source('format("%{body}%{body}%{body}%{body}%{body}")', batch)
    found = list(iter(lambda: several.read(1 << 20), None))
    assert len(found) > 1
    assert [each.start for each in found] == [0, *(each.end for each in found[:-1])]
    assert found[-1].end == batch.end
    assert sum(each.count for each in found) == 300
    assert all(each.payload_bytes <= PART_BYTES_MAX for each in found)


def test_an_event_too_large_for_a_batch_loses_its_attributes() -> None:
    huge = source('format("%{body}%{body}%{body}%{body}")', lines(b"x" * 1_000_000)).read(1 << 20)
    assert huge is not None
    assert len(rows.bodies(huge)[0].as_py()) == 1 << 20
    assert "limit" in huge.attributes["decorator_error"]


def test_events_with_large_attributes_and_many_names_go_on_in_several() -> None:
    batch = columns.to_columns(lines(*[b"%03d" % number for number in range(800)]))
    payload = batch.payload.append_column("large", pa.array(["x" * 5_000] * 800))  # type: ignore[union-attr]
    for number in range(200):
        name = f"{number:020000}"
        payload = payload.append_column(name, pa.array([name] + [None] * 799, pa.string()))
    of = context()
    whole = DecoratedSource(Once(replace(batch, payload=payload)), Chain((), of), of)  # type: ignore[arg-type]
    found = list(iter(lambda: whole.read(1 << 20), None))
    assert [each.start for each in found] == [0, *(each.end for each in found[:-1])]
    assert (found[-1].end, sum(each.count for each in found)) == (batch.end, 800)
    assert all(len(columns.encode(each.payload)) <= BATCH_BYTES_MAX for each in found)  # type: ignore[arg-type]
    assert "limit" in found[0].attributes["decorator_error"]  # four megabytes of names, and as much in them
    assert all(len(each.payload.column("large")[0].as_py()) == 5_000 for each in found[1:])  # type: ignore[union-attr]


def test_choked_source_gives_nothing_and_says_so() -> None:
    throttles = Throttles()
    throttles.set({"c": Limit(events_s=0.001)})
    choked = source('choke("c")', lines(b"a", b"b"), throttles)
    assert choked.read(100) is not None
    choked._source.batches.append(lines(b"c", start=4))  # type: ignore[attr-defined]
    assert (choked.read(100), choked.is_held_back()) == (None, True)
    throttles.set({})
    assert choked.read(100) is not None
    assert not choked.is_held_back()


def test_masters_limit_goes_before_the_arguments() -> None:
    throttles = Throttles()
    chain('choke("c", events_s=5)', context(throttles=throttles))
    assert throttles.of("c").limit == Limit(5.0, 0.0)
    throttles.set({"c": Limit(1.0, 2.0)})
    assert throttles.of("c").limit == Limit(1.0, 2.0)
    throttles.set({})
    assert throttles.of("c").limit == Limit(5.0, 0.0)


def test_flume_ogs_decorators_without_a_purpose_are_accepted() -> None:
    given: dict[str, Any] = {"host": "h"}
    assert run(
        "batch(100, 100) unbatch gzip gunzip nullDeco lazyOpen insistentOpen(1, 2, 3) stubbornAppend",
        b"x",
        **given,
    )
