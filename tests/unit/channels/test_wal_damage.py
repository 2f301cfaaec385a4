"""Files that are not what was written: cut anywhere, any bit flipped, anything gone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.batch import Batch, lines_batch
from qanat.channels.wal import record
from qanat.channels.wal.log import Log
from qanat.channels.wal.reader import LogReader
from qanat.channels.wal.segment import DAMAGED_SUFFIX, SUFFIX, segment_name
from qanat.channels.wal.segments import DAMAGED_KEPT_MAX
from qanat.channels.wal.settings import Fsync, Settings
from qanat.clock import ManualClock
from qanat.component import Context, Cursor, StreamFound
from qanat.testing.directory import Inode, MemoryDirectory

BATCHES = 24
EVENTS = 5  # a batch
EVERYTHING = [f"event {number:04d}\n".encode() for number in range(BATCHES * EVENTS)]
BATCH_BYTES = EVENTS * len(EVERYTHING[0])


@dataclass(slots=True)
class Opened:
    """A log that was opened, what it counts, and what can be read from it."""

    log: Log
    counts: Counter[str]
    taken: dict[str, int]
    reader: LogReader
    at: int = 0  # read so far

    def read(self) -> dict[int, bytes]:
        """Events by number; checks that the stream has no holes."""
        found: dict[int, bytes] = {}
        at = max(self.at, self.reader.position())
        while (batch := self.reader.read(1)) is not None:
            assert batch.start == at
            assert isinstance(batch.payload, bytes)
            found |= dict(enumerate(batch.payload.splitlines(keepends=True), batch.start))
            at = batch.end
        assert at == self.log.durable
        self.at = at
        return found


def opened(
    directory: MemoryDirectory, fsync: Fsync = Fsync.COMMIT, boot: str = "1", segment_bytes: int = 1_500
) -> Opened:
    counts: Counter[str] = Counter()
    context = Context("p", "web", "h", Path(), ManualClock(), lambda name, n: counts.update({name: n}))
    settings = Settings(1 << 20, segment_bytes, fsync=fsync, boot=boot)
    log = Log(directory, settings, new_incarnation=lambda: "i" * 16, count=context.count)
    taken = dict(log.open([Cursor("a")]))
    reader = LogReader(log, "a", context)
    reader.open()
    reader.recover({})
    (found,) = reader.poll(0.0)
    assert isinstance(found, StreamFound)
    reader.seek(found.stream, found.position)
    return Opened(log, counts, taken, reader)


def batch(number: int) -> Batch:
    payload = b"".join(EVERYTHING[number * EVENTS : (number + 1) * EVENTS])
    return lines_batch("s", number * BATCH_BYTES, payload, timestamp_ns=1, attributes={})


def filled(count: int = BATCHES, segment_bytes: int = 1_500) -> MemoryDirectory:
    """A log with some synced segments."""
    directory = MemoryDirectory()
    log = opened(directory, segment_bytes=segment_bytes).log
    for number in range(count):
        assert log.put(batch(number))
        log.sync()
    return directory


def copy(directory: MemoryDirectory) -> MemoryDirectory:
    """As a process finds it that comes later."""
    other = MemoryDirectory()
    other.names = {
        name: Inode(bytearray(inode.data), bytes(inode.data)) for name, inode in directory.names.items()
    }
    return other


def segments(directory: MemoryDirectory) -> list[str]:
    return [name for name in directory.list() if name.endswith((SUFFIX, DAMAGED_SUFFIX))]


def check(found: Opened) -> dict[int, bytes]:
    """What is read is what was put, what is missing is counted, and new events follow it."""
    events = found.read()
    assert all(EVERYTHING[number] == body for number, body in events.items())
    missing = found.log.number - found.reader.position() - len(events)
    assert found.counts["events_damaged"] == missing
    first = found.taken.get("s", 0) // BATCH_BYTES
    for number in range(first, BATCHES):
        assert found.log.put(batch(number))
    found.log.sync()
    later: list[bytes] = []
    while (one := found.reader.read(1)) is not None:
        assert isinstance(one.payload, bytes)
        later += one.payload.splitlines(keepends=True)
    assert later == EVERYTHING[first * EVENTS :]
    return events


def test_last_segment_cut_anywhere_loses_only_what_the_source_sends_again():
    directory = filled(6, segment_bytes=1 << 20)
    (name,) = segments(directory)
    whole = bytes(directory.names[name].data)
    for size in range(len(whole)):
        cut = copy(directory)
        cut.names[name].data[:] = whole[:size]
        found = opened(cut)
        events = check(found)
        assert list(events.values()) == EVERYTHING[: len(events)]
        assert found.taken.get("s", 0) == len(b"".join(events.values()))
        assert not found.counts


@pytest.mark.parametrize("content", [b"", b"\xf5", bytes(300)])
def test_segment_whose_creation_was_interrupted_is_removed(content):
    directory = filled(6)
    directory.names[segment_name(99, 30)] = Inode(bytearray(content))
    found = opened(directory)
    assert len(check(found)) == 6 * EVENTS
    assert not found.counts
    assert segment_name(99, 30) not in directory.list()


def test_zeros_at_the_end_are_a_torn_end():
    directory = filled(6)
    name = segments(directory)[-1]
    directory.names[name].data += bytes(5_000)
    found = opened(directory)
    assert len(check(found)) == 6 * EVENTS
    assert not found.counts
    assert not any(name.endswith(DAMAGED_SUFFIX) for name in segments(directory))


@given(st.data())
def test_flipped_bit_is_never_an_event_and_what_it_hides_is_counted(data):
    directory = filled()
    name = data.draw(st.sampled_from(segments(directory)))
    content = directory.names[name].data
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    content[at // 8] ^= 1 << at % 8
    found = opened(directory)
    events = check(found)
    assert len(events) >= (BATCHES - 1) * EVENTS, "one bit hides no more than one batch"


@pytest.mark.parametrize("seed", range(30))
def test_any_garbage_is_survived(seed):
    random = Random(seed)
    directory = filled()
    for name in random.sample(segments(directory), 3):
        content = directory.names[name].data
        begin = random.randrange(len(content))
        content[begin : begin + random.randint(1, 600)] = random.randbytes(random.randint(0, 600))
    found = opened(directory)
    events = found.read()
    assert all(EVERYTHING[number] == body for number, body in events.items())
    for number in range(found.taken.get("s", 0) // BATCH_BYTES, BATCHES):
        assert found.log.put(batch(number))
    again = opened(copy(directory))
    assert again.reader.position() == 0
    assert all(EVERYTHING.count(body) == 1 for body in again.read().values())


def test_damaged_record_in_an_old_segment_is_found_by_reading_and_the_rest_is_delivered():
    directory = filled()
    found = opened(directory)
    name = segments(directory)[1]
    content = directory.names[name].data
    content[content.index(b"event ") + 3] ^= 1
    events = check(found)
    assert len(events) == (BATCHES - 1) * EVENTS
    assert found.counts == {"events_damaged": EVENTS}
    aside = [name for name in segments(directory) if name.endswith(DAMAGED_SUFFIX)]
    assert aside == [name + ".damaged"]
    again = opened(copy(directory))
    assert len(again.read()) == (BATCHES - 1) * EVENTS
    assert not again.counts, "counted once"


def test_damage_behind_which_a_record_knows_that_it_was_durable_is_not_a_torn_end():
    directory = filled(6, segment_bytes=1 << 20)
    (name,) = segments(directory)
    content = directory.names[name].data
    content[content.index(EVERYTHING[2 * EVENTS]) + 1] ^= 1
    found = opened(directory)
    assert found.taken == {"s": 6 * BATCH_BYTES}, "or the source would send again what was delivered"
    assert len(check(found)) == 5 * EVENTS
    assert found.counts == {"events_damaged": EVENTS}


def test_damage_that_a_cursor_has_passed_is_not_a_torn_end():
    directory = filled(6, segment_bytes=1 << 20)
    log = opened(directory).log
    log.acknowledge("a", 6 * EVENTS)
    log.cursors.save_all()
    (name,) = segments(directory)
    directory.names[name].data[-3] ^= 1
    found = opened(directory)
    assert found.log.number == 6 * EVENTS, "the numbers of what a collector has are not given again"
    assert found.read() == {}
    assert found.counts == {"events_damaged": EVENTS}


def test_numbers_of_discarded_records_are_not_given_again():
    directory = filled(3, segment_bytes=1 << 20)
    log = opened(directory, segment_bytes=1 << 20).log
    for number in (3, 4):
        log.put(batch(number))
    (name,) = segments(directory)
    content = directory.names[name].data
    content[content.index(EVERYTHING[3 * EVENTS]) + 1] ^= (
        1  # not known to be durable, but the one behind it is good
    )
    found = opened(directory)
    assert found.taken == {"s": 3 * BATCH_BYTES}
    assert found.log.put(batch(3))
    found.log.sync()
    found.read()
    assert found.log.number == 6 * EVENTS
    assert not found.counts


def test_damaged_segments_that_were_delivered_are_kept_and_no_part_of_the_log():
    directory = filled()
    for name in segments(directory)[:-1]:
        directory.names[name].data[-3] ^= 1
    found = opened(directory)
    found.read()
    assert found.counts["events_damaged"] == EVENTS * (len(segments(directory)) - 1)
    found.log.acknowledge("a", found.log.number)
    found.log.cursors.save_all()
    found.log.reap()
    assert len(segments(directory)) == 1
    kept = [name for name in directory.list() if name.endswith(".damaged")]
    assert 0 < len(kept) <= DAMAGED_KEPT_MAX
    again = opened(copy(directory))
    assert again.read() == {}
    assert not again.counts


def test_segment_that_somebody_deleted_is_a_gap_that_is_counted():
    directory = filled()
    found = opened(directory)
    gone = segments(directory)[1]
    directory.remove(gone)
    events = found.read()
    assert 0 < found.counts["events_damaged"] == BATCHES * EVENTS - len(events)


@pytest.mark.parametrize("what", ["deleted", "emptied", "cut behind a record"])
def test_segment_that_is_short_without_a_bad_byte_is_counted_when_others_stand_before_and_behind_it(what):
    directory = copy(filled())
    name = segments(directory)[1]
    before = opened(copy(directory)).log.segments.all[1]
    if what == "deleted":
        directory.remove(name)
    else:
        keep = 0 if what == "emptied" else before.offset_of(before.first + EVENTS)
        del directory.names[name].data[keep:]
    found = opened(directory)
    events = check(found)
    assert found.counts["events_damaged"] > 0
    assert len(events) == len(EVERYTHING) - found.counts["events_damaged"]
    assert not opened(copy(directory)).counts  # once


def test_text_that_looks_like_a_record_is_not_taken_for_one():
    forged = (
        record.encode(record.BATCH, b"{}", b"forged\n", 0, number=1, durable=1, count=1, start=0, end=7)
        + b"forged\n"
    )
    head = record.encode(record.HEAD, b"{}", b"{}", 0, number=1, durable=1) + b"{}"
    directory = MemoryDirectory()
    log = opened(directory).log
    payload = b"begin " + forged + head + b"end\n"
    log.put(lines_batch("s", 0, payload, timestamp_ns=1, attributes={}))
    log.put(lines_batch("s", len(payload), b"after\n", timestamp_ns=1, attributes={}))
    log.sync()
    log.put(lines_batch("s", len(payload) + 6, b"more\n", timestamp_ns=1, attributes={}))
    log.sync()
    (name,) = segments(directory)
    content = directory.names[name].data
    content[content.index(record.MAGIC, log.segments.all[0].data_at) + 1] ^= 1
    found = opened(directory)
    assert list(found.read().values()) == [b"after\n", b"more\n"]


def test_without_syncing_a_power_cut_skips_numbers_and_a_killed_process_does_not():
    directory = MemoryDirectory()
    log = opened(directory, Fsync.NEVER).log
    for number in range(4):
        assert log.put(batch(number))
    log.sync()
    assert log.accepted() == {"s": 4 * BATCH_BYTES}
    assert log.durable == 4 * EVENTS, "visible at once"
    killed = opened(copy(directory), Fsync.NEVER)
    assert killed.log.put(batch(4))
    assert killed.log.number == 5 * EVENTS
    cut = opened(copy(directory), Fsync.NEVER, boot="2")
    assert len(cut.read()) == 4 * EVENTS
    assert cut.log.put(batch(4))
    assert cut.log.number > 1 << 40
    assert list(cut.read().values()) == EVERYTHING[4 * EVENTS : 5 * EVENTS]
    assert not cut.counts


def test_without_syncing_a_clean_end_skips_nothing():
    directory = MemoryDirectory()
    log = opened(directory, Fsync.NEVER).log
    assert log.put(batch(0))
    log.close()
    after = opened(directory, Fsync.NEVER, boot="2")
    assert after.log.put(batch(1))
    assert after.log.number == 2 * EVENTS
