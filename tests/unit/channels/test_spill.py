"""spillChannel: what is in memory and what is on disk, and what of it is left after a restart or a crash."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.channels.spans import OnDisk
from qanat.component import Cursor, Level
from tests.contract.channels import KIB, MIB, Bench, Kind, batches, bodies

SPILL = Kind("qanat.channels.spill:SpillChannel", keeps=None)
BIG = {"count": 8, "size": 1 * KIB}
MEMORY = 256 * KIB


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(SPILL, tmp_path / "state")


def log_bytes(bench):
    """What the files of the log take."""
    return sum(file.stat().st_size for file in bench.directory.rglob("*") if file.is_file())


def test_nothing_goes_to_disk_while_memory_has_room(bench):
    put = batches(25, **BIG)
    with bench.opened(memory=MEMORY) as feed:
        before = log_bytes(bench)
        feed.put(*put)
        assert log_bytes(bench) == before
        assert not feed.channel.spans.is_on_disk
        feed.view.begin()
        assert feed.view.read_events(200) == bodies(put)
    assert feed.channel.keeps is Level.DFO


def test_newest_events_go_to_disk_and_to_memory_again_when_the_disk_is_drained(bench):
    put = batches(200, **BIG)
    with bench.opened(memory=MEMORY) as feed:
        feed.put(*put[:100])
        assert feed.channel.spans.memory_bytes <= MEMORY
        assert feed.channel.spans.disk_bytes > MEMORY
        assert feed.channel.spans.is_on_disk
        feed.view.begin()
        feed.view.read_events(800)
        feed.view.acknowledge()
        feed.put(*put[100:120])
        assert not feed.channel.spans.is_on_disk
        feed.put(*put[120:])
        assert feed.channel.spans.is_on_disk
        assert feed.view.read_events(1600) == bodies(put)


def test_files_are_deleted_when_all_have_what_is_in_them(bench):
    put = batches(400, **BIG)
    with bench.opened("a", "b", memory=MEMORY, capacity=8 * MIB) as feed:
        feed.put(*put)
        full = log_bytes(bench)
        for view in feed.views.values():
            view.begin()
            view.read()
            view.acknowledge()
        feed.channel.wait_for_room(0.0)
        assert log_bytes(bench) < full / 2


def test_what_was_on_disk_comes_first_after_a_restart(bench):
    put = batches(100, **BIG)
    with bench.opened(memory=MEMORY) as feed:
        feed.put(*put)
        first_on_disk = next(span for span in feed.channel.spans._spans if isinstance(span, OnDisk)).oldest
        stream = feed.channel.stream
    with bench.opened(memory=MEMORY) as feed:
        assert feed.taken == {"s": put[-1].end}
        assert feed.view.begin() == 0
        assert feed.view.stream != stream
        more = batches(3, start=put[-1].end)
        feed.put(*more)
        expected = bodies(put)[first_on_disk:] + bodies(more)
        assert feed.view.read_events(len(expected)) == expected


@pytest.mark.parametrize("read", [0, 500, 790])
def test_what_was_acknowledged_before_a_clean_stop_does_not_come_again(bench, read):
    put = batches(100, **BIG)
    with bench.opened("a", "b", memory=8 * KIB) as feed:
        feed.put(*put)
        feed.views["a"].begin()
        feed.views["a"].read_events(800)
        feed.views["a"].acknowledge(read)
    with bench.opened("a", "b", memory=8 * KIB) as feed:
        at = {name: view.begin() for name, view in feed.views.items()}
        feed.views["a"].read()
        feed.views["b"].read()
        assert feed.views["a"].events() == bodies(put)[max(read, 8) :]
        assert at["a"] >= at["b"] == 0
        assert feed.views["b"].events() == bodies(put)[8:]


def test_crash_leaves_what_was_on_disk(bench, tmp_path):
    put = batches(100, **BIG)
    after = Bench(SPILL, tmp_path / "after")
    with bench.opened(memory=MEMORY) as feed:
        feed.put(*put)
        on_disk = next(span for span in feed.channel.spans._spans if isinstance(span, OnDisk)).oldest
        shutil.copytree(bench.directory, after.directory)
    with after.opened(memory=MEMORY) as feed:
        assert feed.taken == {"s": put[-1].end}
        feed.view.begin()
        assert feed.view.read_events(800 - on_disk) == bodies(put)[on_disk:]


def test_second_process_waits_for_the_directory(bench, monkeypatch):
    monkeypatch.setattr("qanat.channels.spill.LOCK_S_MAX", 0.05)
    with bench.opened(), pytest.raises(Exception, match="lock"):
        bench.build().open([Cursor("a")])


@given(seed=st.integers(0, 2**32))
def test_events_come_out_in_order_whatever_the_pace_and_wherever_readers_seek(tmp_path_factory, seed):
    chance = random.Random(seed)
    bench = Bench(SPILL, tmp_path_factory.mktemp("spill") / "state")
    put = batches(120, count=chance.choice([1, 8]), size=chance.choice([20, 1 * KIB]))
    expected = bodies(put)

    def read(view):
        for batch in view.read():
            assert bodies([batch]) == expected[batch.start : batch.end]

    with bench.opened("a", "b", memory=chance.choice([1, 16, 64]) * KIB, capacity=512 * KIB) as feed:
        views = list(feed.views.values())
        for view in views:
            view.begin()
        for batch in put:
            while not feed.channel.put(batch):
                for view in views:
                    read(view)
                    view.acknowledge()
                feed.channel.wait_for_room(1.0)
            view = chance.choice(views)
            if chance.random() < 0.3:
                read(view)
                position = view.source.position()
                view.acknowledge(chance.randrange(position, view.batches[-1].end + 1))
            if chance.random() < 0.1 and view.batches:
                position = view.source.position()
                view.source.seek(view.stream, chance.randrange(position, view.batches[-1].end + 1))
        for view in views:
            read(view)
            assert view.batches[-1].end == len(expected)
        assert not bench.counts
