"""Disks that are full, frozen or read-only under the collector, and the way back without anybody's help."""

from __future__ import annotations

import time

from tests.chaos.disks import block_disk, small_disk
from tests.chaos.driver import SECONDS, chaos

WRITTEN_MAX = 24 << 20


def test_full_disk_under_the_output():
    with chaos("full_disk_under_the_output") as trouble, small_disk(trouble.cluster.out / "c1", 64) as disk:
        c1 = trouble.collector("c1")
        trouble.agent("a1", c1)
        with trouble.writing(WRITTEN_MAX):
            trouble.cluster.wait_until(lambda: c1.stored_events() > 0, "the first events")
            disk.fill()
            trouble.cluster.wait_until(lambda: trouble.logged("No space left"), "the disk to be full")
            trouble.torment(SECONDS / 2)
            trouble.heal()
            disk.free()
            trouble.torment(SECONDS / 4)
        trouble.assert_exactly_once()
        trouble.cluster.stop()


def test_full_disk_under_the_store():
    with (
        chaos("full_disk_under_the_store") as trouble,
        small_disk(trouble.cluster.directory / "store", 16) as disk,
    ):
        trouble.cluster.store = f"embedded:{disk.path / 'store.db'}"
        c1, c2 = trouble.collector("c1"), trouble.collector("c2")
        trouble.agent("a1", c1, c2)
        with trouble.writing(WRITTEN_MAX):
            trouble.cluster.wait_until(lambda: c1.stored_events() > 0, "the first events")
            disk.fill()
            trouble.cluster.wait_until(lambda: trouble.logged("full"), "the store to be full")
            trouble.torment(SECONDS / 2)
            disk.free()
            trouble.torment(SECONDS / 4)
        trouble.assert_exactly_once()
        trouble.cluster.stop()


def test_output_directory_that_is_a_file_until_somebody_replaces_it():
    with chaos("output_directory_that_is_a_file") as trouble:
        place = trouble.cluster.out / "c1"
        place.parent.mkdir()
        place.write_text("in the way")
        c1 = trouble.collector("c1")
        trouble.agent("a1", c1)
        with trouble.writing():
            c1.wait_for("recovery_waits")
            assert str(place) in c1.text()
            place.unlink()
            c1.wait_for("sink_ready")
        trouble.assert_exactly_once()


def test_disk_that_turns_read_only():
    with chaos("disk_that_turns_read_only") as trouble, small_disk(trouble.cluster.out / "c1", 64) as disk:
        c1 = trouble.collector("c1")
        trouble.agent("a1", c1)
        with trouble.writing(WRITTEN_MAX):
            trouble.cluster.wait_until(lambda: c1.stored_events() > 0, "the first events")
            c1.kill()  # nobody may have a file open for writing
            disk.read_only()
            c1.start()
            c1.wait_for("recovery_waits")
            disk.writable()
            c1.wait_for("sink_ready")
            trouble.torment(SECONDS / 2)
        trouble.assert_exactly_once()
        trouble.cluster.stop()


def test_disk_that_freezes_again_and_again():
    with chaos("disk_that_freezes") as trouble, block_disk(trouble.cluster.out / "c1", 64) as disk:
        c1 = trouble.collector("c1")
        c2 = trouble.collector("c2")
        trouble.agent("a1", c1, c2)
        with trouble.writing(WRITTEN_MAX):
            trouble.cluster.wait_until(lambda: c1.stored_events() > 0, "the first events")
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                disk.freeze()
                time.sleep(trouble.chance.uniform(0.05, 1.0))
                disk.thaw()
                trouble.torment(trouble.chance.uniform(0.0, 1.0))
        trouble.assert_exactly_once()
        trouble.cluster.stop()
