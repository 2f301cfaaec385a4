"""`tail` without state: what happens to files between its start and its first connection."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.tail_driver import Driver, MakeDriver, append
from tests.integration.test_tail_missed import lines, rotate

PATTERNS = pytest.mark.parametrize("pattern", ["app.log", "*.log"])


def connect(driver: Driver) -> bytes:
    """What is stored once a collector is there; nothing is stored twice after a restart either."""
    driver.tail.recover(dict(driver.committed))
    driver.settle()
    stored = driver.output()
    driver.restart()
    driver.settle()
    assert driver.output() == stored
    return stored


@PATTERNS
@pytest.mark.parametrize("rotations", [1, 2, 3])
@pytest.mark.parametrize("existed", [False, True])
def test_files_rotated_before_the_first_connection_are_read_in_order(
    make: MakeDriver, pattern: str, rotations: int, existed: bool
) -> None:
    driver = make(pattern)
    log = driver.logs / "app.log"
    if existed:
        append(log, lines(0, 0))
    driver.start(connect=False)
    append(log, lines(1, 1) if existed else lines(0, 1))
    for number in range(rotations):
        rotate(log)
        append(log, lines(number + 2, number + 2))
    assert connect(driver) == lines(0, rotations + 1)


def test_file_rotated_to_a_name_of_its_own_is_known_by_its_inode(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, lines(0, 1))
    driver.start(connect=False)
    log.rename(driver.logs / "yesterday")
    append(log, lines(2, 2))
    assert connect(driver) == lines(0, 2)


def test_file_rotated_and_not_replaced_is_read(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, lines(0, 1))
    driver.start(connect=False)
    rotate(log)
    assert connect(driver) == lines(0, 1)


def test_files_rotated_before_the_start_are_not_read(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"of yesterday\n")
    rotate(log)
    append(log, lines(0, 0))
    driver.start(connect=False)
    rotate(log)
    append(log, lines(1, 1))
    assert connect(driver) == lines(0, 1)


def test_file_that_took_the_inode_of_an_older_one_is_read(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    old = driver.logs / "app.log.9"
    append(old, b"of yesterday\n")
    driver.start(connect=False)
    old.write_bytes(lines(0, 5))  # as if it was deleted, and its inode given out again
    old.rename(driver.logs / "app.log.1")
    append(log, lines(6, 6))
    assert connect(driver) == lines(0, 6)


def test_rotated_file_begins_where_it_ended_at_the_start_when_asked_to(make: MakeDriver) -> None:
    driver = make(start="end")
    log = driver.logs / "app.log"
    append(log, lines(0, 3))
    driver.start(connect=False)
    append(log, lines(4, 4))
    rotate(log)
    append(log, lines(5, 5))
    rotate(log)
    append(log, lines(6, 6))
    assert connect(driver) == lines(4, 6)


def test_target_of_a_link_that_was_switched_is_read(make: MakeDriver, tmp_path: Path) -> None:
    driver = make()
    log, data = driver.logs / "app.log", tmp_path / "data"
    data.mkdir()
    append(data / "one", lines(0, 1))
    append(data / "two", lines(2, 3))
    log.symlink_to(data / "one")
    driver.start(connect=False)
    log.unlink()
    log.symlink_to(data / "two")
    assert connect(driver) == lines(0, 3)


@pytest.mark.parametrize("cut", [False, True])
def test_copied_file_is_read_once(make: MakeDriver, cut: bool) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, lines(0, 1))
    driver.start(connect=False)
    shutil.copy(log, driver.logs / "app.log.1")
    if cut:
        os.truncate(log, 0)
    append(log, lines(2, 2))
    assert connect(driver) == lines(0, 2)


def test_rotated_file_that_collectors_know_goes_on_where_they_say(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, lines(0, 1))
    driver.start()
    driver.sync()
    driver.crash()
    (driver.state_dir / "tail.state").unlink()
    driver.start(connect=False)
    append(log, lines(2, 2))
    rotate(log)
    append(log, lines(3, 3))
    rotate(log)
    append(log, lines(4, 4))
    assert connect(driver) == lines(0, 4)


def test_copy_of_a_known_file_is_not_read_again(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, lines(0, 1))
    driver.start()
    driver.sync()
    driver.crash()
    (driver.state_dir / "tail.state").unlink()
    driver.start(connect=False)
    shutil.copy(log, driver.logs / "app.log.1")
    append(log, lines(2, 2))
    assert connect(driver) == lines(0, 2)
