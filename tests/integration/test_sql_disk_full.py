"""sqlChannel in an SQLite file, on a disk without one byte free: the source waits, and what is there is delivered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.batch import Batch
from qanat.channels import sql_reader, sql_writer
from qanat.errors import RetryableError
from tests.chaos.disks import Disk, small_disk
from tests.contract.channels import KIB, Bench, Feed, Kind, batches, bodies
from tests.integration.sql_process import BATCHES, EVENTS

SQLITE = Kind("qanat.channels.sql:SqlChannel", keeps=True)
DISK_MIB = 48
ROOT = Path(__file__).parents[2]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk" / "state", DISK_MIB) as disk:
        yield disk


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for module in (sql_writer, sql_reader):
        monkeypatch.setattr(module, "backoff_s", lambda attempt, max_s: 0.01)


@pytest.fixture
def bench(disk: Disk) -> Bench:
    return Bench(SQLITE, disk.path)


def fill_and_kill(disk: Disk) -> int:
    """How many batches a process got accepted before the disk was full, and it was killed."""
    command = [sys.executable, "-m", "tests.integration.sql_process", str(disk.path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = next((line for line in process.stdout if line.startswith("full ")), "it was never full")
        disk.fill()
        process.kill()
    return int(said.removeprefix("full "))


def put_all(feed: Feed, some: list[Batch]) -> None:
    for batch in some:
        feed.put_patiently(batch)


def test_what_a_full_disk_has_is_delivered_after_a_kill_and_before_there_is_room(disk, bench):
    accepted = fill_and_kill(disk)
    everything = batches(BATCHES, count=EVENTS, size=4 * KIB)
    assert 0 < accepted < BATCHES
    with bench.opened(capacity=1 << 30) as feed:
        feed.view.begin()
        read = feed.view.read_events(accepted * EVENTS)
        assert read == bodies(everything)[: len(read)]
        feed.view.acknowledge()
        feed.view.source.save()
    with bench.opened(capacity=1 << 30) as feed:
        position = feed.view.begin()
        assert position >= accepted * EVENTS, "what was delivered is known, with no byte free"


def test_what_was_delivered_makes_room_for_new_events_while_the_disk_stays_full(disk, bench):
    accepted = fill_and_kill(disk)
    everything = batches(BATCHES, count=EVENTS, size=4 * KIB)
    with bench.opened(capacity=1 << 30) as feed:
        feed.view.begin()
        stored = len(feed.view.read_events(accepted * EVENTS)) // EVENTS
        feed.view.acknowledge()
        rest = everything[stored : stored + accepted // 2]
        put_all(feed, rest)
        read = feed.view.read_events((stored + len(rest)) * EVENTS)
        assert read == bodies(everything[: stored + len(rest)])


def test_a_source_that_waits_for_room_goes_on_when_a_destination_catches_up(disk, bench):
    """The transaction that found no room is not in the way of the one that makes it."""
    everything = batches(BATCHES, count=EVENTS, size=4 * KIB)
    with bench.opened(capacity=1 << 30) as feed:
        with pytest.raises(RetryableError, match="full"):
            put_all(feed, everything)
        disk.fill()
        feed.view.begin()
        at = 0
        while at < BATCHES // 2:
            feed.view.read()
            if feed.view.batches:
                feed.view.acknowledge()
            try:
                at = next(i for i, b in enumerate(everything) if b.end > feed.channel._taken.positions["s"])
                feed.channel.put(everything[at])
            except RetryableError:
                feed.view.source.poll(0.01)
        feed.view.read_until(lambda view: not view.source.lag_bytes())
        read = feed.view.events()
        assert read == bodies(everything[: len(read) // EVENTS])
