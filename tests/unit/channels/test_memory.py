"""memoryChannel, and the pure parts that channels in memory are made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.channels import streams
from qanat.channels.backlog import BATCH_OVERHEAD_BYTES, Backlog
from qanat.channels.cursors import Cursors
from qanat.channels.taken import Taken
from qanat.component import Cursor, Level
from tests.contract.channels import KIB, Bench, Kind, batches

MEMORY = Kind("qanat.channels.memory:MemoryChannel", keeps=False)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(MEMORY, tmp_path / "state")


def test_tiny_batches_count_for_what_they_take(bench):
    with bench.opened(capacity=100 * BATCH_OVERHEAD_BYTES) as feed:
        assert feed.fill(batches(200, count=1)) < 100
    assert feed.channel.keeps is Level.BE


def test_what_waits_at_the_end_is_said_to_be_lost(bench, capsys):
    with bench.opened() as feed:
        feed.put(*batches(3))
        feed.view.begin()
        feed.view.read_events(12)
        feed.view.acknowledge(4)
    assert "channel_discarded" in (said := capsys.readouterr().out)
    assert "events=8" in said


def test_memory_is_freed_when_the_last_reader_has_passed(bench):
    with bench.opened("a", "b", capacity=64 * KIB) as feed:
        feed.put(*batches(5))
        for view in feed.views.values():
            view.begin()
            view.read()
        feed.views["a"].acknowledge()
        assert len(feed.channel._backlog) == 5
        feed.views["b"].acknowledge(9)
        assert len(feed.channel._backlog) == 3
        feed.views["b"].acknowledge()
        assert feed.channel._backlog.size_bytes == 0


def test_lost_events_are_counted_once_however_often_they_are_asked_for(bench):
    with bench.opened("a", Cursor("slow", required=False), capacity=64 * KIB) as feed:
        put = batches(40, count=8, size=1 * KIB)
        feed.views["a"].begin()
        slow = feed.views["slow"]
        slow.begin()
        for batch in put:
            feed.put_patiently(batch)
            feed.views["a"].read()
            feed.views["a"].acknowledge()
        for _time in range(2):
            slow.batches.clear()
            slow.source.seek(slow.stream, 0)
            slow.read()
        lost = 320 - len(slow.events())
        assert bench.counts["events_lost"] == lost > 0


# -- the parts --------------------------------------------------------------------------------------------------------


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=40),
    frees=st.lists(st.integers(0, 120), max_size=10),
)
def test_backlog_finds_and_sums_what_is_left(sizes, frees):
    backlog = Backlog(0)
    put = []
    for number, size in enumerate(sizes):
        batch = batches(number + 1, count=size)[number]
        put.append(streams.numbered(batch, "c", backlog.end))
        backlog.append(put[-1])
    left = put
    for number in [0, *frees]:
        left = [batch for batch in left if batch.end > number]
        backlog.free_before(number)
        assert len(backlog) == len(left)
        assert backlog.size_bytes == sum(batch.payload_bytes + BATCH_OVERHEAD_BYTES for batch in left)
        assert backlog.oldest == (left[0].start if left else backlog.end)
        for batch in left:
            for at in range(batch.start, batch.end):
                assert backlog.covering(at) is batch
                assert backlog.bytes_from(at) == sum(each.payload_bytes for each in left if each.end > at)
        assert backlog.bytes_from(0) == sum(each.payload_bytes for each in left)


@pytest.mark.parametrize(
    ("positions", "required", "passed", "expendable"),
    [
        ({"a": 5, "b": 9}, {"a", "b"}, 5, 5),
        ({"a": 5, "b": 9}, {"b"}, 5, 9),
        ({"a": 9, "b": 5}, {"b"}, 5, 5),
        ({"a": 5, "b": 7, "c": 9}, set(), 5, 9),
        ({"a": 5}, set(), 5, 5),
        ({}, set(), 100, 0),
    ],
)
def test_channel_waits_for_who_is_required(positions, required, passed, expendable):
    cursors = Cursors([Cursor(name, required=name in required) for name in positions], 0, positions)
    assert (cursors.passed(100), cursors.expendable()) == (passed, expendable)


def test_taken_tells_what_moved_and_forgets_what_is_over():
    taken = Taken({"old": 7})
    assert taken.moved() == {}
    taken.advance("new", 5)
    taken.advance("over", 3)
    taken.forget(["over", "unknown"])
    assert taken.moved() == {"new": 5}
    assert taken.moved() == {}
    assert taken.positions == {"old": 7, "new": 5}


@pytest.mark.parametrize(
    ("gaps", "lost"),
    [
        ([(0, 10), (0, 10)], [10, 0]),
        ([(20, 33), (14, 33)], [13, 6]),  # a collector that lost what it had acked on receipt rewinds further
        ([(20, 30), (0, 10), (5, 25)], [10, 10, 10]),
        ([(0, 10), (10, 20), (5, 15)], [10, 10, 0]),
        ([(7, 7)], [0]),
    ],
)
def test_lost_event_is_counted_once_for_each_cursor(gaps, lost):
    cursors = Cursors([Cursor("a"), Cursor("b")], 0)
    assert [cursors.newly_lost("a", *gap) for gap in gaps] == lost
    assert [cursors.newly_lost("b", *gap) for gap in gaps] == lost
