"""What every channel does; each implementation is one line in `KINDS`."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from qanat import columns
from qanat.batch import Batch, PayloadForm
from qanat.component import Cursor, StreamFinished, StreamFound
from qanat.testing.postgres import Postgres
from tests.contract.channels import KIB, MIB, Bench, Feed, Kind, batches, bodies, lines


def in_postgresql(directory: Path, server: Postgres) -> dict[str, Any]:
    """A database for each state directory."""
    password = directory / "password"
    password.write_text(server.password + "\n")
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:16]
    return {"url": server.database(f"d{name}"), "password_file": str(password)}


KINDS: dict[str, Kind] = {
    "file": Kind("qanat.channels.file:FileChannel", keeps=True),
    "memory": Kind("qanat.channels.memory:MemoryChannel", keeps=False),
    "postgresql": Kind(
        "qanat.channels.sql:SqlChannel", keeps=True, options=in_postgresql, server="postgresql"
    ),
    "spill": Kind("qanat.channels.spill:SpillChannel", keeps=False),
    "spill at once": Kind(
        "qanat.channels.spill:SpillChannel", keeps=None, options=lambda directory, server: {"memory": 1}
    ),
    "sqlite": Kind("qanat.channels.sql:SqlChannel", keeps=True),
}

# Channels are filled to this: a few hundred batches of `BIG`.
CAPACITY = MIB
BIG = {"count": 8, "size": 1 * KIB}


# Of module scope, so that servers are started before a test counts its children.
@pytest.fixture(scope="module", params=sorted(KINDS))
def kind_and_server(request: pytest.FixtureRequest) -> tuple[Kind, Any]:
    kind = KINDS[request.param]
    if (reason := kind.available()) is not None:
        pytest.skip(reason)
    return kind, request.getfixturevalue(kind.server) if kind.server else None


@pytest.fixture
def bench(kind_and_server: tuple[Kind, Any], tmp_path: Path) -> Bench:
    kind, server = kind_and_server
    return Bench(kind, tmp_path / "state", server)


def keeps(bench: Bench) -> None:
    if not bench.kind.keeps:
        pytest.skip("this channel does not keep all it has when it is closed, and says so")


# -- through ----------------------------------------------------------------------------------------------------------


def test_events_come_out_as_they_were_put_with_numbers_for_positions(bench):
    put = batches(20)
    with bench.opened() as feed:
        feed.put(*put)
        assert feed.view.begin() == 0
        assert feed.view.read_events(80) == bodies(put)
        assert feed.view.batches[-1].end == 80
        assert feed.view.stream.startswith("web")
        assert not bench.counts


def test_next_number_is_where_the_next_batch_begins_before_it_is_safe_and_after_a_restart(bench):
    put = batches(6)
    with bench.opened() as feed:
        first = feed.channel.next_number()
        for number, batch in enumerate(put, 1):
            feed.put(batch)
            assert feed.channel.next_number() == first + number * 4
        feed.view.begin()
        feed.view.read_events(24)
        assert feed.view.batches[-1].end == first + 24
    keeps(bench)
    with bench.opened() as feed:
        assert feed.channel.next_number() == first + 24


def test_attributes_and_times_stay_with_their_events(bench):
    put = [*batches(2), *batches(2, stream="other")]
    with bench.opened() as feed:
        feed.put(*put)
        feed.view.begin()
        feed.view.read_events(16)
        seen = [
            (batch.attributes["file"], batch.timestamp_ns)
            for batch in feed.view.batches
            for _ in range(batch.count)
        ]
        assert seen == [(batch.stream, batch.timestamp_ns) for batch in put for _ in range(batch.count)]


def test_columns_keep_their_columns_and_are_numbered(bench):
    put = [columns.to_columns(batch) for batch in batches(3)]
    with bench.opened() as feed:
        feed.put(*put)
        feed.view.begin()
        assert feed.view.read_events(12) == bodies_of_source(put)
        assert {batch.form for batch in feed.view.batches} == {PayloadForm.COLUMNS}


def test_lines_stay_lines(bench):
    with bench.opened() as feed:
        feed.put(*batches(3))
        feed.view.begin()
        feed.view.read_events(12)
        assert {batch.form for batch in feed.view.batches} == {PayloadForm.LINES}


def test_reading_before_there_is_anything_gives_nothing_and_poll_waits_for_it(bench):
    with bench.opened() as feed:
        feed.view.begin()
        assert feed.view.source.read(KIB) is None
        assert feed.view.source.poll(0.01) == []
        feed.put(*batches(1))
        assert feed.view.read_events(4) == lines(0)


def test_nothing_is_read_before_the_first_seek(bench):
    with bench.opened() as feed:
        feed.put(*batches(1))
        feed.accepted("s", batches(1)[-1].end)
        reader = feed.view.source
        reader.open()
        reader.recover({})
        assert len(reader.poll(0.0)) == 1
        assert reader.read(KIB) is None


def test_empty_batch_moves_its_source_on_and_is_not_an_event(bench):
    put = batches(2)
    empty = Batch("s", put[-1].end, put[-1].end + 100, 0, PayloadForm.LINES, b"", 5, {})
    after = batches(1, start=empty.end)
    with bench.opened() as feed:
        feed.put(*put, empty, *after)
        feed.view.begin()
        assert feed.view.read_events(12) == bodies(put) + bodies(after)
        assert feed.view.batches[-1].end == 12
        feed.accepted("s", after[-1].end)


def bodies_of_source(put: list[Batch]) -> list[bytes]:
    return [body for batch in put for body in batch.payload.column("body").to_pylist()]


# -- the source's side ------------------------------------------------------------------------------------------------


def test_what_was_taken_is_accepted_and_said_once(bench):
    put = batches(3)
    other = batches(2, stream="other", start=1000)
    with bench.opened() as feed:
        assert feed.taken == {}
        feed.put(*put, *other)
        feed.accepted("other", other[-1].end)
        assert "other" not in feed.channel.accepted()


def test_what_was_taken_already_is_dropped(bench):
    put = batches(4)
    with bench.opened() as feed:
        feed.put(*put[:3], put[0], put[2], put[3])
        feed.view.begin()
        assert feed.view.read_events(16) == bodies(put)
        assert feed.view.read() == []


def test_batch_that_was_taken_in_part_is_cut(bench):
    put = batches(3)
    both = columns.concat([put[1], _alike(put[2], put[1])])
    with bench.opened() as feed:
        feed.put(put[0], put[1], both)
        feed.view.begin()
        assert feed.view.read_events(12) == bodies(put)
        feed.accepted("s", put[2].end)


def _alike(batch: Batch, other: Batch) -> Batch:
    return Batch(
        batch.stream,
        batch.start,
        batch.end,
        batch.count,
        batch.form,
        batch.payload,
        other.timestamp_ns,
        other.attributes,
    )


def test_batch_behind_a_hole_is_a_fault_of_the_caller(bench):
    put = batches(3)
    with bench.opened() as feed:
        feed.put(put[0])
        with pytest.raises(ValueError, match="s"):
            feed.channel.put(put[2])


def test_stream_may_begin_anywhere(bench):
    with bench.opened() as feed:
        feed.put(*batches(2, start=5_000))
        feed.view.begin()
        assert feed.view.read_events(8) == bodies(batches(2))


# -- the readers ------------------------------------------------------------------------------------------------------


def test_readers_are_independent(bench):
    put = batches(10)
    with bench.opened("a", "b") as feed:
        feed.put(*put)
        feed.views["a"].begin()
        assert feed.views["a"].read_events(40) == bodies(put)
        feed.views["a"].acknowledge()
        assert feed.views["b"].begin() == 0
        assert feed.views["b"].read_events(40) == bodies(put)
        assert feed.views["a"].stream == feed.views["b"].stream


@pytest.mark.parametrize("at", [0, 3, 4, 17, 39])
def test_seek_goes_to_any_event_that_is_not_acknowledged(bench, at):
    with bench.opened() as feed:
        feed.put(*batches(10))
        feed.view.begin()
        feed.view.read_events(40)
        feed.view.batches.clear()
        feed.view.source.seek(feed.view.stream, at)
        assert feed.view.read_events(40 - at) == bodies(batches(10))[at:]
        assert feed.view.batches[0].start == at


def test_seek_into_columns_cuts_them(bench):
    put = columns.to_columns(batches(1, count=10)[0])
    with bench.opened() as feed:
        feed.put(put)
        feed.view.begin(at=7)
        assert feed.view.read_events(3) == bodies_of_source([put])[7:]


def test_reader_opened_again_goes_on_at_its_cursor(bench):
    with bench.opened() as feed:
        feed.put(*batches(10))
        feed.view.begin()
        feed.view.read_events(40)
        feed.view.acknowledge(13)
        feed.view.source.close()
        feed.view.batches.clear()
        assert feed.view.begin() == 13
        assert feed.view.read_events(27) == bodies(batches(10))[13:]


def test_acknowledging_less_than_before_or_more_than_there_is_is_harmless(bench):
    with bench.opened() as feed:
        feed.put(*batches(2))
        feed.view.begin()
        feed.view.read_events(8)
        feed.view.acknowledge(5)
        feed.view.acknowledge(2)
        feed.view.source.acknowledge({"unknown": 7})
        feed.view.source.save()
        assert feed.view.begin() == 5
        feed.view.acknowledge(1_000)
        feed.put(*batches(3)[2:])
        feed.view.batches.clear()
        feed.view.begin()
        assert feed.view.read_events(4) == lines(2)


def test_stream_is_reported_once_and_earlier_ones_as_finished(bench):
    with bench.opened() as feed:
        reader = feed.view.source
        feed.view.begin()
        reader.recover({"another source's": 3})
        assert reader.poll(0.0) == []
        old = feed.view.stream.replace(feed.view.stream[-6:], "000000")
        reader.recover({old: 99, feed.view.stream: 0})
        assert reader.poll(0.0) == [StreamFound(old, 99), StreamFinished(old, 99)]
        reader.seek(old, 99)
        assert reader.read(KIB) is None
        reader.acknowledge({old: 99})
        reader.save()


def test_wake_ends_a_poll(bench):
    with bench.opened() as feed:
        feed.view.begin()
        feed.view.source.poll(0.0)
        waker = threading.Timer(0.05, feed.view.source.wake)
        waker.start()
        assert feed.view.source.poll(600.0) == []
        waker.join()


def test_lag_is_what_was_not_read(bench):
    with bench.opened() as feed:
        feed.view.begin()
        assert feed.view.source.lag_bytes() == 0
        feed.put(*batches(10, **BIG))
        feed.accepted("s", batches(10, **BIG)[-1].end)
        assert feed.view.source.lag_bytes() >= sum(batch.payload_bytes for batch in batches(10, **BIG))
        feed.view.read_events(80)
        assert feed.view.source.lag_bytes() == 0


def test_lag_is_known_before_any_collector_said_what_it_has(bench):
    with bench.opened() as feed:
        source = feed.view.source
        source.open()
        feed.put(*batches(10, **BIG))
        feed.accepted("s", batches(10, **BIG)[-1].end)
        assert source.knows_its_streams()
        assert source.poll(0.0) == []
        assert source.lag_bytes() >= sum(batch.payload_bytes for batch in batches(10, **BIG))
        source.recover({})
        assert [type(each) for each in source.poll(0.0)] == [StreamFound]


# -- full -------------------------------------------------------------------------------------------------------------


def drain(feed: Feed, *names: str) -> None:
    """Read and acknowledge what there is."""
    for name in names or feed.views:
        view = feed.views[name]
        if not view.stream:
            view.begin()
        view.read()
        if view.batches:
            view.acknowledge()


def test_full_channel_refuses_until_its_slowest_reader_has_moved(bench):
    put = batches(400, **BIG)
    with bench.opened("a", "b", capacity=CAPACITY) as feed:
        taken = feed.fill(put)
        assert 0.5 * CAPACITY <= taken * 8 * KIB <= CAPACITY
        feed.accepted("s", put[taken - 1].end)
        drain(feed, "a")
        feed.channel.wait_for_room(0.01)
        assert not feed.channel.put(put[taken])
        drain(feed, "b")
        feed.put_patiently(put[taken])
        expected = bodies(put[: taken + 1])
        for view in feed.views.values():
            assert view.read_events(len(expected)) == expected
        assert not bench.counts


def test_how_full_it_is_goes_up_with_what_is_put_and_down_with_what_is_acknowledged(bench):
    put = batches(4, count=8, size=1 * KIB)
    with bench.opened(capacity=16 * MIB, events=1000) as feed:
        empty = feed.channel.fill()
        assert (empty.events, empty.capacity_bytes, empty.capacity_events) == (0, 16 * MIB, 1000)
        feed.put(*put)
        feed.accepted("s", put[-1].end)
        full = feed.channel.fill()
        assert full.events == 32
        assert full.bytes - empty.bytes >= 32 * KIB
        feed.view.begin()
        feed.view.read_events(32)
        feed.view.acknowledge()
        feed.view.source.save()
        assert feed.channel.fill().events == 0


def test_capacity_in_events_is_kept(bench):
    put = batches(10)
    with bench.opened(events=20) as feed:
        assert feed.fill(put) == 5
        feed.accepted("s", put[4].end)
        feed.view.begin()
        feed.view.read_events(20)
        feed.view.acknowledge(8)
        feed.put_patiently(put[5])
        feed.put_patiently(put[6])
        assert not feed.channel.put(put[7])


@pytest.mark.parametrize("limit", [{"capacity": 100_000}, {"events": 3}])
def test_batch_larger_than_the_channel_is_taken_when_nothing_waits(bench, limit):
    put = batches(3, count=20, size=10 * KIB)
    with bench.opened(**limit) as feed:
        feed.view.begin()
        for number, batch in enumerate(put, 1):
            feed.put_patiently(batch)
            assert not feed.channel.put(_after(batch))
            feed.view.read_events(20 * number)
            feed.view.acknowledge()
        assert feed.view.events() == bodies(put)


def _after(batch: Batch) -> Batch:
    return Batch(batch.stream, batch.end, batch.end + 7, 1, PayloadForm.LINES, b"second\n", 0, {})


def test_dropping_channel_counts_what_it_drops_and_goes_on(bench):
    put = batches(400, **BIG)
    with bench.opened(capacity=CAPACITY, full="drop") as feed:
        feed.put(*put)
        dropped = bench.counts["events_dropped"]
        assert dropped > 0
        feed.accepted("s", put[-1].end)
        drain(feed)
        more = batches(1, start=put[-1].end)
        for _attempt in range(1000):
            feed.channel.wait_for_room(0.5)
            feed.put(*more)
            if bench.counts["events_dropped"] == dropped:
                break
            dropped = bench.counts["events_dropped"]
            more = batches(1, start=more[-1].end)
        feed.view.read_events(len(feed.view.events()) + 4)
        assert feed.view.events()[-4:] == bodies(more)
        kept = feed.view.events()[:-4]
        assert kept == bodies(put)[: len(kept)]
        assert feed.view.batches[-1].end == len(kept) + 4, "what was dropped has no number"


def test_waiting_for_room_ends_when_a_reader_moves(bench):
    put = batches(400, **BIG)
    with bench.opened(capacity=CAPACITY) as feed:
        taken = feed.fill(put)
        feed.accepted("s", put[taken - 1].end)
        feed.view.begin()
        reader = threading.Timer(0.05, drain, [feed])
        reader.start()
        feed.channel.wait_for_room(600.0)
        feed.put_patiently(put[taken])
        reader.join()


def test_reader_that_is_not_required_loses_its_oldest_events(bench):
    put = batches(400, **BIG)
    with bench.opened("a", Cursor("slow", required=False), capacity=CAPACITY) as feed:
        for batch in put:
            if not feed.channel.put(batch):
                feed.accepted("s", batch.start)
                drain(feed, "a")
                feed.put_patiently(batch)
        feed.accepted("s", put[-1].end)
        drain(feed, "a")
        assert feed.views["a"].events() == bodies(put)
        slow = feed.views["slow"]
        slow.begin(at=0)
        slow.read_until(lambda view: bool(view.batches) and view.batches[-1].end == 3200)
        lost = 3200 - len(slow.events())
        assert 0 < lost < 3200
        assert slow.events() == bodies(put)[lost:]
        assert slow.batches[0].start == 0
        assert (slow.batches[0].count, slow.batches[0].payload) == (0, b"")
        assert bench.counts == {"events_lost": lost}


def test_seek_to_what_is_gone_gives_an_empty_batch_and_counts(bench):
    put = batches(400, **BIG)
    with bench.opened(capacity=CAPACITY) as feed:
        for batch in put:
            if not feed.channel.put(batch):
                feed.accepted("s", batch.start)
                drain(feed)
                feed.put_patiently(batch)
        feed.accepted("s", put[-1].end)
        drain(feed)
        feed.view.batches.clear()
        feed.view.source.seek(feed.view.stream, 0)
        feed.view.read()
        assert (feed.view.batches[0].start, feed.view.batches[-1].end) == (0, 3200)
        gone = 3200 - len(feed.view.events())
        assert gone > 0
        everything = bodies(put)
        for batch in feed.view.batches:  # while it was read, more of it may have gone
            assert batch.count == 0 or bodies([batch]) == everything[batch.start : batch.end]
        assert bench.counts == {"events_lost": gone}


# -- closing and opening again ----------------------------------------------------------------------------------------


def test_close_is_idempotent_and_needs_no_open(bench):
    channel = bench.build()
    channel.close()
    channel.open([Cursor("a")])
    channel.close()
    channel.close()


def test_channel_that_keeps_nothing_begins_a_new_stream(bench):
    if bench.kind.keeps is not False:
        pytest.skip("this channel keeps its events, or some of them")
    with bench.opened() as feed:
        feed.put(*batches(2))
        feed.view.begin()
        before = feed.view.stream
    with bench.opened() as feed:
        assert feed.taken == {}
        feed.view.begin()
        assert feed.view.stream != before
        assert feed.view.read() == []
        feed.view.source.recover({before: 4})
        assert feed.view.source.poll(0.0) == [StreamFound(before, 4), StreamFinished(before, 4)]


def test_closed_channel_goes_on_where_it_was(bench):
    keeps(bench)
    put = [*batches(10), *batches(3, stream="other", start=500)]
    with bench.opened("a", "b") as feed:
        feed.put(*put)
        feed.views["a"].begin()
        stream = feed.views["a"].stream
        feed.views["a"].read_events(52)
        feed.views["a"].acknowledge(13)
    for _time in range(2):
        with bench.opened("a", "b") as feed:
            assert feed.taken == {"s": put[9].end, "other": put[-1].end}
            assert feed.views["a"].begin() == 13
            assert feed.views["b"].begin() == 0
            assert feed.views["a"].stream == stream
            assert feed.views["a"].read_events(39) == bodies(put)[13:]
            assert feed.views["b"].read_events(52) == bodies(put)
    more = batches(1, start=put[9].end)
    with bench.opened("a") as feed:
        feed.put(*more)
        feed.view.begin()
        assert feed.view.read_events(43) == bodies(put)[13:] + bodies(more)
        assert feed.view.batches[-1].end == 56


def test_new_cursor_begins_with_the_oldest_event_and_one_not_named_is_forgotten(bench):
    keeps(bench)
    with bench.opened("a") as feed:
        feed.put(*batches(5))
        feed.view.begin()
        feed.view.read_events(20)
        feed.view.acknowledge()
    with bench.opened("b") as feed:
        oldest = feed.view.begin()
        feed.view.read()
        assert feed.view.events() == bodies(batches(5))[oldest:]
    with bench.opened("a") as feed:
        assert feed.view.begin() < 20 or oldest == 20


def test_forgotten_stream_is_not_known_any_more(bench):
    keeps(bench)
    put = batches(2)
    with bench.opened() as feed:
        feed.put(*put, *batches(1, stream="other"))
        feed.channel.forget(["s"])
        feed.put(*batches(2, stream="other")[1:])
    with bench.opened() as feed:
        assert feed.taken == {"other": batches(2)[-1].end}
        feed.view.begin()
        assert len(feed.view.read_events(16)) == 16


def test_source_positions_outlive_their_events(bench):
    keeps(bench)
    put = batches(400, **BIG)
    with bench.opened(capacity=CAPACITY) as feed:
        feed.put(*batches(1, stream="early"))
        for batch in put:
            if not feed.channel.put(batch):
                feed.accepted("s", batch.start)
                drain(feed)
                feed.put_patiently(batch)
    with bench.opened(capacity=CAPACITY) as feed:
        assert feed.taken == {"early": batches(1)[0].end, "s": put[-1].end}


# -- threads ----------------------------------------------------------------------------------------------------------


def test_one_thread_feeds_while_others_read(bench):
    put = batches(600, **BIG)
    everything = bodies(put)
    failures: list[BaseException] = []
    with bench.opened("a", "b", capacity=CAPACITY) as feed:

        def follow(name: str) -> None:
            view = feed.views[name]
            try:
                view.begin()
                while len(view.events()) < len(everything):
                    seen = len(view.batches)
                    view.read_until(lambda view: len(view.batches) > seen)  # noqa: B023
                    view.acknowledge()
            except BaseException as error:  # noqa: BLE001 - told to the test
                failures.append(error)

        threads = [threading.Thread(target=follow, args=[name]) for name in feed.views]
        for thread in threads:
            thread.start()
        for batch in put:
            feed.put_patiently(batch)
        for thread in threads:
            thread.join()
        assert not failures
        assert [view.events() == everything for view in feed.views.values()] == [True, True]
        assert not bench.counts
