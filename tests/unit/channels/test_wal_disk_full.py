"""A full disk holds the source back; what is there can be read, acknowledged and deleted, and then it goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from qanat.batch import Batch, lines_batch
from qanat.channels import streams
from qanat.channels.wal.log import Log
from qanat.channels.wal.reader import LogReader
from qanat.channels.wal.settings import Settings
from qanat.component import Context, Cursor, StreamFound
from qanat.errors import RetryableError
from qanat.testing.directory import MemoryDirectory
from tests.unit.channels.wal_model import Model, event


def fill(model: Model, left: int = 0) -> None:
    """Some segments, and then no byte more (but `left`)."""
    for _ in range(40):
        assert model.put(model.origins[0], 10)
        model.sync()
    used = sum(len(inode.data) for inode in model.directory.names.values())
    model.directory.capacity = used + left


@pytest.mark.parametrize("left", [0, 1, 60, 150])
def test_full_disk_refuses_and_leaves_no_half_record(left):
    model = Model()
    fill(model, left)
    before = {name: bytes(inode.data) for name, inode in model.directory.names.items()}
    with pytest.raises(RetryableError, match="free space"):
        model.log.put(next_batch(model))
    assert {name: bytes(inode.data) for name, inode in model.directory.names.items()} == before


def next_batch(model: Model) -> Batch:
    origin = model.origins[0]
    first = origin.position // origin.event_bytes
    payload = b"".join(event(origin.name, first + each) for each in range(10))
    return lines_batch(origin.name, origin.position, payload, timestamp_ns=1, attributes={})


def test_draining_a_full_disk_makes_room_without_writing_first():
    model = Model()
    fill(model)
    for destination in model.destinations:
        model.read(destination, 1_000)
        model.acknowledge(destination, save=True)  # which has no room
        assert len(destination.events) == 400
    segments = len(model.log.segments.all)
    model.reap()
    assert len(model.log.segments.all) == 1 < segments
    assert model.put(model.origins[0], 10)
    model.check_complete()


def test_log_on_a_full_disk_can_be_opened_and_drained():
    model = Model()
    fill(model)
    model.open()
    for destination in model.destinations:
        model.read(destination, 1_000)
        model.acknowledge(destination, save=True)
    model.reap()
    model.check_complete()


def test_failed_sync_is_not_believed_when_it_works_again():
    model = Model()
    assert model.put(model.origins[0], 10)
    model.directory.failing.add("sync")
    model.sync()
    assert model.log.durable == 0
    assert not model.put(model.origins[0], 10)
    model.directory.failing.clear()
    model.sync()
    assert model.log.durable == 0, "the kernel has forgotten what it could not write"
    assert model.put(model.origins[0], 10), "what was not synced is written again, elsewhere"
    model.sync()
    assert model.log.durable == 20
    model.cut_power(1)
    model.check_complete()


def test_a_disk_full_of_one_drained_segment_is_given_back():
    model = Model()
    model.directory.capacity = 2_000  # less than a segment
    while model.put(model.origins[0], 40):
        model.sync()
    assert len(model.log.segments.all) == 1
    assert not model.put(model.origins[0], 40), "somebody still needs it"
    for destination in model.destinations:
        model.read(destination, 1_000)
        model.acknowledge(destination, save=True)
    assert model.put(model.origins[0], 40)
    model.sync()
    model.check_complete()


def test_what_a_destination_lost_before_it_reached_anybody_is_counted():
    counts: Counter[str] = Counter()
    log = Log(MemoryDirectory(), Settings(4000, 800), new_incarnation=lambda: "i")
    log.open([Cursor("a", required=False), Cursor("b", required=False)])
    for number in range(100):
        assert log.put(lines_batch("s", number * 50, b"x" * 49 + b"\n", timestamp_ns=1, attributes={}))
        log.sync()
        log.acknowledge("a", log.durable)
    assert log.segments.oldest > 0
    context = Context("p", "web", "h", Path(), count=lambda name, n: counts.update({name: n}))
    reader = LogReader(log, "b", context)
    reader.open()
    reader.recover({})
    (found,) = reader.poll(0.0)
    assert isinstance(found, StreamFound)
    assert found.position == 0
    reader.seek(found.stream, found.position)
    gap = reader.read(1000)
    assert gap is not None
    assert (gap.start, gap.end, gap.count) == (0, log.segments.oldest, 0)
    assert counts == {streams.LOST: log.segments.oldest}
