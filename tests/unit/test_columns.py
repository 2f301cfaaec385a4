"""Conversions between the two payload forms: any byte, exact positions, clear refusals."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat import columns
from qanat.batch import Batch, PayloadForm, lines_batch
from qanat.errors import CorruptError

LINE = st.binary(max_size=20).map(lambda body: body.replace(b"\n", b"\r"))
LINES = st.lists(LINE, max_size=30)


def batch_of(lines: list[bytes], start: int = 0, **changes: object) -> Batch:
    payload = b"".join(line + b"\n" for line in lines)
    batch = lines_batch("s", start, payload, timestamp_ns=7, attributes={"host": "h"})
    return replace(batch, **changes)  # type: ignore[arg-type]


def bodies(batch: Batch) -> list[bytes]:
    assert not isinstance(batch.payload, bytes)
    return batch.payload.column("body").to_pylist()  # type: ignore[no-any-return]


@given(LINES, st.integers(0, 1 << 61))
def test_to_columns_keeps_every_byte_and_position_and_to_lines_gives_the_payload_back(lines, start):
    batch = batch_of(lines, start)
    converted = columns.to_columns(batch)
    assert converted.form is PayloadForm.COLUMNS
    assert bodies(converted) == lines
    offsets = [start + sum(len(line) + 1 for line in lines[:at]) for at in range(len(lines))]
    assert converted.payload.column("position").to_pylist() == offsets
    assert columns.to_lines(converted) == batch


@given(LINES, st.integers(0, 1 << 61), st.data())
def test_numbered_events_keep_their_numbers_through_conversion_slicing_and_joining(lines, start, data):
    batch = columns.numbered(batch_of(lines, 77), "channel", start)
    assert (batch.stream, batch.start, batch.end) == ("channel", start, start + len(lines))
    converted = columns.to_columns(batch)
    assert bodies(converted) == lines
    assert converted.payload.column("position").to_pylist() == list(range(start, batch.end))
    assert columns.numbered(columns.to_columns(batch_of(lines, 77)), "channel", start) == converted
    assert columns.to_lines(converted) == batch
    cut = start + data.draw(st.integers(0, len(lines)))
    parts = [columns.slice_positions(batch, *bounds) for bounds in ((start, cut), (cut, batch.end))]
    assert [part.count for part in parts] == [cut - start, batch.end - cut]
    assert columns.concat(parts) == batch


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_join_bodies_ends_each_body_in_a_line_end(values):
    rows = pa.record_batch(
        [pa.array(values, pa.binary()), pa.array(range(len(values)), pa.uint64())], columns.REQUIRED
    )
    assert columns.join_bodies(rows).to_pybytes() == b"".join(value + b"\n" for value in values)
    # A slice shares its parent's buffers, and must not see the rest of them.
    assert columns.join_bodies(rows.slice(1)).to_pybytes() == b"".join(value + b"\n" for value in values[1:])


@given(LINES)
def test_decode_gives_back_what_encode_was_given(lines):
    rows = columns.to_columns(batch_of(lines)).payload
    assert columns.decode(columns.encode(rows)).equals(rows)


@given(LINES, st.data())
def test_decode_raises_corrupt_error_or_gives_a_valid_batch_when_bytes_are_damaged(lines, data):
    encoded = bytearray(columns.encode(columns.to_columns(batch_of(lines)).payload))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(CorruptError):
        columns.decode(bytes(encoded)).validate(full=True)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff\xff\xff\xff"])
def test_decode_raises_corrupt_error_when_bytes_are_no_stream(data):
    with pytest.raises(CorruptError):
        columns.decode(data)


def test_decode_raises_corrupt_error_when_a_required_column_is_missing_or_null():
    with pytest.raises(CorruptError, match="position"):
        columns.decode(columns.encode(pa.record_batch({"body": pa.array([b"x"])})))
    nulls = pa.record_batch({"body": pa.array([None], pa.binary()), "position": pa.array([1], pa.uint64())})
    with pytest.raises(CorruptError, match="nulls"):
        columns.decode(columns.encode(nulls))


@given(LINES, LINES, st.booleans(), st.booleans())
def test_concat_then_slice_gives_each_part_back(first, second, first_in_columns, second_in_columns):
    a = batch_of(first, 5)
    b = batch_of(second, a.end)
    parts = [
        columns.to_columns(part) if wanted else part
        for part, wanted in ((a, first_in_columns), (b, second_in_columns))
    ]
    whole = columns.concat(parts)
    assert (whole.start, whole.end, whole.count) == (5, b.end, a.count + b.count)
    for part in (a, b):
        cut = columns.slice_positions(whole, part.start, part.end)
        assert columns.to_lines(cut) == part


def test_concat_joins_as_columns_when_a_range_goes_on_behind_its_payload():
    shortened = batch_of([b"cut"], 0, end=50)
    whole = columns.concat([shortened, batch_of([b"next"], 50)])
    assert whole.payload.column("position").to_pylist() == [0, 50]


def test_concat_fills_columns_that_a_part_lacks_with_nulls():
    plain = columns.to_columns(batch_of([b"a"]))
    extra = columns.to_columns(batch_of([b"b"], 2))
    extra = replace(extra, payload=extra.payload.append_column("level", pa.array(["E"])))
    assert columns.concat([plain, extra]).payload.column("level").to_pylist() == [None, "E"]


def test_concat_raises_when_batches_are_not_contiguous():
    with pytest.raises(ValueError, match="up to 2, then 's' from 3"):
        columns.concat([batch_of([b"a"]), batch_of([b"b"], 3)])


def test_slice_positions_raises_when_the_cut_is_within_a_line_or_outside():
    batch = batch_of([b"abc", b"def"])
    with pytest.raises(ValueError, match="cuts through a line"):
        columns.slice_positions(batch, 1, 8)
    with pytest.raises(ValueError, match="not within"):
        columns.slice_positions(batch, 0, 9)


def test_to_lines_raises_when_lines_cannot_carry_the_columns():
    rows = pa.record_batch([pa.array([b"a\nb"]), pa.array([0], pa.uint64())], columns.REQUIRED)
    batch = Batch("s", 0, 4, 1, PayloadForm.COLUMNS, rows, 7, {})
    with pytest.raises(ValueError, match="line end"):
        columns.to_lines(batch)
    filtered = columns.to_columns(batch_of([b"a", b"b"]))
    filtered = replace(filtered, payload=filtered.payload.slice(1), count=1)
    with pytest.raises(ValueError, match="positions"):
        columns.to_lines(filtered)


def test_to_columns_raises_when_the_count_is_wrong():
    with pytest.raises(CorruptError, match="says 3 events"):
        columns.to_columns(batch_of([b"a"], count=3))
