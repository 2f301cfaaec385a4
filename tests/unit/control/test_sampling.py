"""What a tap takes of the batches that pass, and what it leaves."""

from __future__ import annotations

import pyarrow as pa
import pytest

from qanat.batch import Batch, PayloadForm, lines_batch
from qanat.clock import ManualClock
from qanat.columns import numbered, to_columns
from qanat.control import sampling
from qanat.control.sampling import Sampler, TapPoint


def batch(payload=b"one\ntwo\nthree\n", start=100, **attributes):
    return lines_batch("s", start, payload, timestamp_ns=7, attributes=attributes)


@pytest.fixture
def clock():
    return ManualClock()


def bodies(sampler, events_max=1000):
    return [each.body for each in sampler.drain(events_max)[0]]


@pytest.mark.parametrize("shape", [lambda it: it, to_columns])
def test_events_are_taken_with_where_they_stand(shape, clock):
    sampler = Sampler(clock=clock)
    sampler.take(shape(batch(host="h", file="f")))
    taken, passed = sampler.drain(10)
    assert [(each.body, each.position) for each in taken] == [(b"one", 100), (b"two", 104), (b"three", 108)]
    assert {(each.stream, each.timestamp_ns, each.body_bytes) for each in taken[:2]} == {("s", 7, 3)}
    assert taken[0].attributes == {"host": "h", "file": "f"}
    assert passed == 0


@pytest.mark.parametrize("shape", [lambda it: it, to_columns])
def test_events_of_a_channel_are_known_by_their_numbers(shape, clock):
    sampler = Sampler(b"t", clock)
    sampler.take(shape(numbered(batch(), "c", 5)))
    taken, passed = sampler.drain(10)
    assert [(each.body, each.position) for each in taken] == [(b"two", 6), (b"three", 7)]
    assert passed == 1


def test_columns_give_their_own_time_and_attributes(clock):
    columns = pa.record_batch(
        {
            "body": pa.array([b"a\nb"]),
            "position": pa.array([4], pa.uint64()),
            "timestamp": pa.array([9], pa.timestamp("ns", tz="UTC")),
            "level": pa.array(["ERROR"]),
            "none": pa.array([None], pa.string()),
            "size": pa.array([3]),
        }
    )
    sampler = Sampler(clock=clock)
    sampler.take(Batch("s", 4, 5, 1, PayloadForm.COLUMNS, columns, 7, {"host": "h"}))
    (taken,), _ = sampler.drain(10)
    assert (taken.body, taken.timestamp_ns) == (b"a\nb", 9)
    assert taken.attributes == {"host": "h", "level": "ERROR", "size": "3"}


@pytest.mark.parametrize("shape", [lambda it: it, to_columns])
def test_large_bodies_and_attributes_are_cut(shape, clock):
    sampler = Sampler(clock=clock)
    sampler.take(shape(batch(b"x" * 10_000 + b"\n", a="y" * 10_000, b="z")))
    (taken,), _ = sampler.drain(10)
    assert len(taken.body) == sampling.BODY_BYTES_MAX
    assert taken.body_bytes == 10_000
    assert sum(map(len, [*taken.attributes, *taken.attributes.values()])) <= sampling.ATTRIBUTES_BYTES_MAX


def test_only_some_events_of_a_batch_are_taken_and_the_others_counted(clock):
    sampler = Sampler(clock=clock)
    sampler.take(batch(b"x\n" * 1000))
    taken, passed = sampler.drain(1000)
    assert (len(taken), passed) == (sampling.BATCH_EVENTS_MAX, 1000 - sampling.BATCH_EVENTS_MAX)
    assert sampler.drain(1000) == ([], 0)


def test_rate_is_limited_however_many_batches_pass(clock):
    sampler = Sampler(clock=clock)
    taken = 0
    for _ in range(100):
        for _ in range(20):
            sampler.take(batch(b"x\n" * 50))
        taken += len(bodies(sampler))
        clock.advance(0.1)
    assert 10 * sampling.EVENTS_S_MAX <= taken <= 11 * sampling.EVENTS_S_MAX


def test_what_nobody_fetches_is_bounded_and_the_rest_counted(clock):
    sampler = Sampler(clock=clock)
    for _ in range(100):
        sampler.take(batch(b"x\n" * 50))
        clock.advance(1.0)
    taken, passed = sampler.drain(10_000)
    assert len(taken) == sampling.RING_EVENTS_MAX
    assert passed == 100 * 50 - sampling.RING_EVENTS_MAX


def test_search_does_not_look_at_more_than_its_share(clock):
    sampler = Sampler(b"needle", clock)
    hay = batch(b"x" * 999_999 + b"\n")
    for _ in range(100):
        sampler.take(hay)
    sampler.take(batch(b"needle\n"))
    assert bodies(sampler) == []
    clock.advance(4.0)
    sampler.take(batch(b"needle\n"))
    assert bodies(sampler) == [b"needle"]


def test_text_is_looked_for_within_lines(clock):
    sampler = Sampler(b"b", clock)
    sampler.take(batch(b"abc\nxyz\nb\n\ncab\n"))
    assert bodies(sampler) == [b"abc", b"b", b"cab"]


def test_point_costs_nothing_while_nobody_looks():
    point = TapPoint()
    assert point.sample is None
    first, second = Sampler(), Sampler()
    point.add(first)
    point.add(second)
    point.sample(batch())
    point.remove(first)
    point.sample(batch())
    point.remove(second)
    point.remove(second)
    assert point.sample is None
    assert (len(bodies(first)), len(bodies(second))) == (3, 6)


def test_defect_in_looking_harms_nobody_else(monkeypatch):
    point, broken, other = TapPoint(), Sampler(), Sampler()
    monkeypatch.setattr(broken, "take", lambda batch: 1 / 0)
    point.add(broken)
    point.add(other)
    point.sample(batch())
    point.sample(batch())
    assert "ZeroDivisionError" in broken.failure
    assert len(bodies(other)) == 6
