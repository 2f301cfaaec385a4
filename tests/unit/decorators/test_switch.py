"""`switch`: every event to one case, split over columns, whole where all belong together."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat import columns
from qanat.batch import Batch, PayloadForm
from qanat.chain import Chain, build_chain
from qanat.check import check
from qanat.decorators.common.cases import NOTE, UNMATCHED
from qanat.errors import ConfigError
from qanat.flow.parser import parse
from qanat.flow.sinks import undecorated
from qanat.flow.switching import branches, counted_once
from tests.unit.decorators.batches import Counts, context, events, lines, positions

LEVEL = r'regex("level=(\\w+)", 1, "level", on_error="ignore") switch("%{level}")'


def chains(text: str, counts: Counts | None = None) -> list[Chain]:
    """What stands before each destination, in the order of the branches."""
    in_ = context() if counts is None else context(count=counts)
    found = [undecorated(branch.sink)[0] for branch in branches(parse(f"n : s | {text} ;").nodes[0].sink)]
    built = [build_chain(calls, in_) for calls in counted_once(found)]
    for chain in built:
        assert chain is not None
        chain.open()
    return [chain for chain in built if chain is not None]


def split(text: str, batch: Batch, counts: Counts | None = None) -> list[Batch]:
    return [chain.apply(batch) for chain in chains(text, counts)]


def bodies(batch: Batch) -> list[bytes]:
    return [event["body"] for event in events(batch)]


def test_else_comes_first_then_the_cases_and_every_destination_of_a_case_is_a_branch() -> None:
    batch = lines(b"level=a 1", b"level=b 2", b"none", b"level=a 3", start=70)
    other, a, b, c = split(f'{LEVEL} {{ "a" => k, "b" => [ l, drop("2") m ], else => n }}', batch)
    assert [bodies(each) for each in (other, a, b, c)] == [
        [b"none"],
        [b"level=a 1", b"level=a 3"],
        [b"level=b 2"],
        [],
    ]
    assert {(each.start, each.end) for each in (other, a, b, c)} == {(70, batch.end)}
    assert positions(a) == [70, 95]
    assert all(NOTE not in event for each in (other, a, b, c) for event in events(each))
    assert all(each["level"] == "a" for each in events(a))


def test_batch_with_the_key_in_shared_attributes_goes_whole_as_the_lines_that_it_was() -> None:
    batch = lines(b"x", b"y", file="w")
    v, w = split('switch("%{file}") { "v" => k, "w" => l }', batch)
    assert w == batch
    assert w.payload is batch.payload
    assert (v.form, v.payload, v.count, v.start, v.end) == (PayloadForm.LINES, b"", 0, 0, batch.end)


def test_batch_of_one_case_goes_whole_without_a_copy() -> None:
    batch = columns.to_columns(lines(b"x", b"y"))
    assert not isinstance(batch.payload, bytes)
    marked = Batch(
        **{name: getattr(batch, name) for name in Batch.__slots__}
        | {"payload": batch.payload.append_column("k", pa.array(["v", "v"]))}
    )
    other, v = split('switch("%{k}") { "v" => a, else => b }', marked)
    assert (other.count, v.payload) == (0, marked.payload)


def test_what_belongs_to_no_case_is_counted_once_however_many_branches_there_are() -> None:
    counts = Counts()
    batch = lines(b"level=a", b"level=z", b"nothing")
    split(f'{LEVEL} {{ "a" => [ k, l ], "b" => m }}', batch, counts)
    assert counts[UNMATCHED] == 2
    split('switch("%{file}") { "a" => [ k, l ] }', lines(b"x", b"y", file="f"), counts)
    assert counts[UNMATCHED] == 4
    split(f'{LEVEL} {{ "a" => k, else => m }}', batch, counts)
    assert counts[UNMATCHED] == 4


def test_switch_within_a_case_and_within_a_fan_out() -> None:
    batch = lines(b"level=a ok", b"level=b ok", b"level=a bad", file="f")
    inner = 'regex("(ok|bad)", 1, "how") switch("%{how}") { "ok" => k, else => l }'
    everything, other, ok, bad = split(
        f'[ raw, {LEVEL} {{ "a" => {inner}, else => m }} ]'.replace("raw", 'value("r", "1") raw'), batch
    )
    assert bodies(everything) == bodies(batch)
    assert bodies(other) == [b"level=b ok"]
    assert sorted([bodies(ok), bodies(bad)]) == [[b"level=a bad"], [b"level=a ok"]]


@pytest.mark.parametrize(
    ("on", "value"),
    [
        ("%{body}", "level=a"),
        ("%Y-%m", "2026-08"),
        ("%{nothing}", ""),
        ("%{priority}", "INFO"),
        ("x-%{file}-%{nanos}", "x-f-1788177600000000000"),
        ("%{level}/%{file}", "a/f"),
    ],
)
def test_switch_is_on_anything_that_file_names_have_and_on_bodies(on: str, value: str) -> None:
    batch = lines(b"level=a", file="f")
    for before in ("", 'regex("level=(.)", 1, "level")'):
        if "level" in on and not before:
            continue
        _, case = split(f'{before} switch("{on}") {{ "{value}" => k, else => l }}', batch)
        assert bodies(case) == [b"level=a"], before


def test_column_that_is_no_text_is_of_no_case() -> None:
    batch = columns.to_columns(lines(b"x"))
    assert not isinstance(batch.payload, bytes)
    odd = Batch(
        **{name: getattr(batch, name) for name in Batch.__slots__}
        | {"payload": batch.payload.append_column("k", pa.array([[{"a": 1}]]))}
    )
    other, v = split('switch("%{k}") { "v" => a, else => b }', odd)
    assert (other.count, v.count) == (1, 0)


def test_bad_template_is_found_before_anything_runs() -> None:
    text = 'x : collectorSource | switch("%{a") { "v" => file("/d", "p-") } ;'
    with pytest.raises(ConfigError, match=re.escape("'%{' has no closing '}'")) as raised:
        check(text)
    assert "1:30" in str(raised.value)


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"", b"\xff", "\u00e9".encode()]), max_size=30))
def test_every_event_reaches_exactly_one_case_in_order(keys: list[bytes]) -> None:
    batch = lines(*(b"level=" + key for key in keys))
    found = split(
        r'regex("level=(.*)", 1, "k") switch("%{k}") { "a" => k, "b" => l, "" => m, "é" => n, else => o }',
        batch,
    )
    assert sorted(at for each in found for at in positions(each)) == positions(batch)
    assert all(positions(each) == sorted(positions(each)) for each in found)
    wanted = [{b"c", b"\xff"}, {b"a"}, {b"b"}, {b""}, {"\u00e9".encode()}]
    for each, own in zip(found, wanted, strict=True):
        assert {body[6:] for body in bodies(each)} <= own
