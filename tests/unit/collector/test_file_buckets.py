"""Escapes and the paths made of them: every escape, every refusal, and no value that leads out of the root."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.files import names
from collector.files.buckets import Bucket, parse_buckets
from qanat.errors import ConfigError
from qanat.escapes import zone

AT = datetime(2026, 3, 5, 21, 7, 9, tzinfo=UTC)
AT_NS = int(AT.timestamp()) * 1_000_000_000 + 123_456_789


def expand(text: str, attributes: dict[str, str] | None = None, timezone: str = "UTC") -> str:
    return parse_buckets("/r", f"x{text}", zone(timezone)).bucket(attributes or {}, AT_NS).prefix[1:]


@pytest.mark.parametrize(
    ("escape", "expected"),
    [
        ("%a", "Thu"), ("%A", "Thursday"), ("%b", "Mar"), ("%B", "March"), ("%c", "Thu Mar 5 21:07:09 2026"),
        ("%d", "05"), ("%e", "5"), ("%H", "21"), ("%I", "09"), ("%j", "064"), ("%k", "21"), ("%l", "9"), ("%m", "03"),
        ("%M", "07"), ("%n", "3"), ("%p", "PM"), ("%P", "pm"), ("%s", "1772744829"), ("%S", "09"),
        ("%t", "1772744829123"), ("%y", "26"), ("%Y", "2026"), ("%z", "+0000"), ("%Z", "UTC"), ("%%", "%"),
        ("%{nanos}", str(AT_NS)), ("%{priority}", "INFO"), ("%{none}", ""),
    ],
)  # fmt: skip
def test_escape_expands_as_in_flume(escape, expected):
    assert expand(escape) == expected


def test_escapes_use_the_time_zone():
    assert expand("%Y-%m-%d %H%z %Z", timezone="Asia/Kolkata") == "2026-03-06 02+0530 IST"


def test_short_date_makes_directories_as_in_flume():
    assert parse_buckets("/r/%D/x", "", UTC).bucket({}, AT_NS).directory == "03/05/26/x"


def test_attributes_come_from_the_event_and_hostname_is_host():
    attributes = {"host": "web1", "my.attr-x": "v", "priority": "WARN"}
    assert expand("%{host} %{hostname} %{my.attr-x} %{priority}", attributes) == "web1 web1 v WARN"


@pytest.mark.parametrize(
    ("directory", "prefix", "message"),
    [
        ("/r/%Q", "", r"directory '/r/%Q', column 4: unknown escape '%Q'"),
        ("/r", "a%h", r"prefix 'a%h', column 2: unknown escape '%h'; did you mean '%H'\?"),
        ("/r/%{body}", "", "file for every event"),
        ("/r/%{host", "", "no closing"),
        ("/r/%{}", "", "names no attribute"),
        ("/r/%", "", "lone '%'"),
        ("/r/%{a}/../x", "", "'..'"),
        ("/%Y/x", "", "fixed directory first"),
        ("", "", "directory is empty"),
        ("/r", "a/b", "contains '/'"),
        ("/r", "%D", "%m-%d-%y"),
        ("/r", ".x", "hidden"),
    ],
)
def test_bad_templates_are_refused_with_position_and_advice(directory, prefix, message):
    with pytest.raises(ConfigError, match=message):
        parse_buckets(directory, prefix, UTC)


def test_all_faults_are_listed_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_buckets("/r/%Q/%{body}", "%h", UTC)
    assert len(caught.value.faults) == 3


def test_unknown_time_zone_is_refused():
    with pytest.raises(ConfigError, match="Mars/Base"):
        zone("Mars/Base")


@pytest.mark.parametrize(
    ("directory", "root"),
    [
        ("/a/b/%Y/c", "/a/b"),
        ("/a/b/x-%Y", "/a/b"),
        ("/a/b", "/a/b"),
        ("file:///a/%Y", "/a"),
        ("%Y", "."),
        ("a//b/", "a/b"),
    ],
)
def test_root_is_what_precedes_the_first_escape(directory, root):
    assert parse_buckets(directory, "", UTC).root == Path(root)


@given(st.text(), st.text(), st.binary(), st.integers(-(1 << 63), (1 << 63) - 1))
def test_no_value_leads_out_of_the_root_or_makes_an_impossible_name(a, b, c, timestamp_ns):
    buckets = parse_buckets("/r/%{a}/x-%{b}/%{c}%{a}/%Y", "%{c}", UTC)
    values = {"a": a, "b": b, "c": c.decode("utf-8", "surrogateescape")}
    bucket = buckets.bucket(values, timestamp_ns)
    for part in [*bucket.directory.split("/"), bucket.prefix]:
        encoded = part.encode()
        assert len(encoded) <= names.NAME_BYTES_MAX
        assert not part.startswith(".")
        assert "/" not in part
        assert "\0" not in part
    assert len(bucket.prefix.encode()) <= names.PREFIX_BYTES_MAX


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_different_values_never_share_a_bucket_unless_both_are_hidden_names(values):
    buckets = parse_buckets("/r/v%{a}", "", UTC)
    first, second = (buckets.bucket({"a": value}, 0) for value in values)
    assert first != second


@pytest.mark.parametrize("value", ["..", ".", "../..", "/etc/passwd", "a/../../b", ".qanat-x", "\0", "a\nb"])
def test_hostile_values_become_harmless_names(value):
    bucket = parse_buckets("/r/%{a}/", "p", UTC).bucket({"a": value}, 0)
    assert bucket == Bucket(bucket.directory, "p")
    assert "/" not in bucket.directory
    assert not bucket.directory.startswith(".")
    assert (Path("/r") / bucket.directory).resolve().is_relative_to("/r")


def test_long_values_are_shortened_with_a_hash_that_tells_them_apart():
    buckets = parse_buckets("/r/%{a}/", "", UTC)
    one, two = (buckets.bucket({"a": "ü" * 300 + end}, 0).directory for end in "xy")
    assert one != two
    assert max(len(one.encode()), len(two.encode())) <= names.NAME_BYTES_MAX


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_sink_ids_are_fit_for_names_and_tell_nodes_apart(logical, physical, other_logical, other_physical):
    sink = names.sink_id(logical, physical)
    assert len(sink.encode()) <= names.SINK_ID_BYTES_MAX
    assert "/" not in sink
    if (logical, physical) != (other_logical, other_physical):
        assert sink != names.sink_id(other_logical, other_physical)


def test_final_names_sort_in_order_of_opening():
    made = [
        names.final_name("p-", "s@n", ms, number, ".log")
        for ms, number in ((5, 1), (5, 2), (70_000, 3), (10**12, 4))
    ]
    assert made == sorted(made)
    assert made[0] == "p-s@n-19700101T000000.005Z-00000001.log"
