"""`tail` and what happened while nobody looked: restarts, double rotations, links that were switched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.tail_driver import MakeDriver, append


def rotate(log: Path) -> None:
    """As logrotate does: .1 is the youngest."""
    numbers = [int(each.suffix[1:]) for each in log.parent.glob(log.name + ".*")]
    for number in sorted(numbers, reverse=True):
        log.with_name(f"{log.name}.{number}").rename(log.with_name(f"{log.name}.{number + 1}"))
    log.rename(log.with_name(log.name + ".1"))


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, last + 1))


GLOBS = ["app.log", "app.log*", "*.log"]


@pytest.mark.parametrize("pattern", GLOBS)
def test_files_rotated_twice_between_two_looks_are_read_in_order(make: MakeDriver, pattern: str) -> None:
    driver = make(pattern)
    log = driver.logs / "app.log"
    append(log, lines(0, 0))
    driver.start()
    driver.sync()
    for number in range(1, 5):
        append(log, lines(number, number))
        rotate(log)
    append(log, lines(5, 5))
    driver.settle()
    assert driver.output() == lines(0, 5)
    driver.restart()
    driver.settle()
    assert driver.output() == lines(0, 5)


@pytest.mark.parametrize("pattern", GLOBS)
def test_files_created_and_rotated_while_the_agent_was_down_are_read_in_order(
    make: MakeDriver, pattern: str
) -> None:
    driver = make(pattern)
    log = driver.logs / "app.log"
    append(log, lines(0, 0))
    rotate(log)
    append(log, lines(1, 1))
    os.utime(log.with_name("app.log.1"), ns=(0, 0))
    driver.start()
    driver.settle()
    began = driver.output()
    driver.tail.close()
    for number in range(2, 6):
        append(log, lines(number, number))
        rotate(log)
    append(log, lines(6, 6))
    driver.restart()
    driver.settle()
    assert driver.output() == began + lines(2, 6)
    assert driver.counts["streams_lost"] == 0


def test_files_of_all_logs_of_a_directory_are_found_when_all_were_rotated_twice(make: MakeDriver) -> None:
    driver = make("*.log")
    logs = [driver.logs / f"{number}.log" for number in range(30)]
    for log in logs:
        append(log, lines(0, 0))
    driver.start()
    driver.sync()
    for number in (1, 2):
        for log in logs:
            append(log, lines(number, number))
            rotate(log)
    for log in logs:
        append(log, lines(3, 3))
    driver.settle()
    for log in logs:
        batches = [batch for batch in driver.arrivals if batch.attributes["file"] == str(log)]
        assert b"".join(bytes(batch.payload) for batch in batches) == lines(0, 3)  # type: ignore[arg-type]


def test_log_that_only_looks_rotated_holds_nothing_up(make: MakeDriver) -> None:
    driver = make("app.log*")
    log, other = driver.logs / "app.log", driver.logs / "app.log.2"
    append(log, b"a1\n")
    driver.start()
    driver.sync()
    append(other, b"b1\n")
    log.rename(driver.logs / "app.log.1")
    append(log, b"a2\n")
    for number in range(2, 6):
        driver.sync()
        driver.clock.advance(driver.config.rotate_wait - 1)
        append(other, b"b%d\n" % number)
    driver.sync()
    assert sorted(driver.output().split()) == [b"a1", b"a2", b"b1", b"b2", b"b3", b"b4", b"b5"]


@pytest.mark.parametrize("renamed", [False, True])
def test_link_switched_while_the_agent_was_down_finishes_the_old_target(
    make: MakeDriver, renamed: bool
) -> None:
    driver = make()
    data = driver.root / "data"
    data.mkdir()
    append(data / "a", lines(0, 0))
    log = driver.logs / "app.log"
    log.symlink_to(data / "a")
    driver.start()
    driver.sync()
    driver.tail.close()
    append(data / "a", lines(1, 1))
    append(data / "b", lines(2, 2))
    log.unlink()
    log.symlink_to(data / "b")
    if renamed:
        (data / "a").rename(data / "a.old")
    driver.restart()
    driver.settle()
    assert driver.output() == lines(0, 2)
    assert len(driver.tail._situation.links) == 1


def test_link_switched_between_two_looks_finishes_a_target_that_is_not_open(make: MakeDriver) -> None:
    driver = make("*.log", open_files=1)
    data = driver.root / "data"
    data.mkdir()
    for number in range(3):
        append(data / f"a{number}", b"%d first\n" % number)
        (driver.logs / f"{number}.log").symlink_to(data / f"a{number}")
    driver.start()
    driver.sync()
    for number in range(3):
        append(data / f"a{number}", b"%d last" % number)
        append(data / f"b{number}", b"%d next\n" % number)
        (driver.logs / f"{number}.log").unlink()
        (driver.logs / f"{number}.log").symlink_to(data / f"b{number}")
    driver.settle()
    for number in range(3):
        log = str(driver.logs / f"{number}.log")
        payloads = [bytes(each.payload) for each in driver.arrivals if each.attributes["file"] == log]  # type: ignore[arg-type]
        assert payloads == [b"%d %b\n" % (number, what) for what in (b"first", b"last", b"next")]


def test_link_to_a_directory_switched_while_the_agent_was_down_finishes_the_old_target(
    make: MakeDriver,
) -> None:
    driver = make("current/app.log")
    for name in ("old", "new"):
        (driver.root / name).mkdir()
    append(driver.root / "old" / "app.log", lines(0, 0))
    (driver.logs / "current").symlink_to(driver.root / "old")
    driver.start()
    driver.sync()
    driver.tail.close()
    append(driver.root / "old" / "app.log", lines(1, 1))
    append(driver.root / "new" / "app.log", lines(2, 2))
    (driver.logs / "current").unlink()
    (driver.logs / "current").symlink_to(driver.root / "new")
    driver.restart()
    driver.settle()
    assert driver.output() == lines(0, 2)


def test_finished_file_that_grows_is_counted_and_read(make: MakeDriver) -> None:
    driver = make(rescan=60.0)
    log = driver.logs / "app.log"
    append(log, lines(0, 0))
    driver.start()
    driver.sync()
    writer = log.open("ab")
    rotate(log)
    append(log, lines(1, 1))
    driver.settle()
    assert driver.output() == lines(0, 1)
    rotate(log)
    driver.settle()
    writer.write(lines(2, 2))
    writer.close()
    driver.clock.advance(61)
    driver.settle()
    assert driver.output() == lines(0, 2)
    assert driver.counts["bytes_late"] == len(lines(2, 2))
    driver.clock.advance(61)
    driver.restart()
    driver.settle()
    assert driver.output() == lines(0, 2)


def test_forgotten_stream_stays_forgotten_when_the_agent_crashes_after_a_save(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, lines(0, 0))
    driver.start()
    driver.sync()
    rotate(log)
    driver.settle()
    (stream,) = driver.finished
    driver.tail.save()
    driver.crash()
    del driver.committed[stream]  # the collector has forgotten it
    driver.start()
    driver.settle()
    assert driver.output() == lines(0, 0)


@pytest.mark.parametrize("rotated", [False, True])
def test_new_file_on_the_inode_of_a_finished_one_is_read(make: MakeDriver, rotated: bool) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, lines(0, 0))
    driver.start()
    batches = driver.read()
    log.unlink()
    for _look in range(2):
        driver.read()
        driver.clock.advance(driver.config.rotate_wait + 1)
    assert driver.finished
    driver.commit(batches, acknowledge=False)
    driver.tail.save()
    driver.crash()
    append(log, lines(1, 3))  # most file systems give it the inode that was freed last
    if rotated:
        rotate(log)
    driver.start()
    driver.settle()
    assert driver.output() == lines(0, 3)
