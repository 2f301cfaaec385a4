"""`tail` and the copies that copytruncate makes, when the glob matches them too."""

from __future__ import annotations

import shutil

import pytest

from tests.integration.tail_driver import MakeDriver, append

# More than the fingerprint, so that lengths don't matter; and less.
LINES = [b"%06d " % number + b"x" * 50 + b"\n" for number in range(200)]
SIZES = [1, 60]


def text(first: int, last: int) -> bytes:
    return b"".join(LINES[first:last])


@pytest.mark.parametrize("name", ["app.log.1", "app.log-20240131", "app-20240131.log"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("looks", [(), ("copy",), ("unread",), ("unread", "copy")])
def test_copy_that_the_glob_matches_is_not_read_again(
    make: MakeDriver, looks: tuple[str, ...], size: int, name: str
) -> None:
    driver = make("app*")
    log = driver.logs / "app.log"
    append(log, text(0, size))
    driver.start()
    driver.sync()
    append(log, text(size, size + 1))
    if "unread" in looks:
        driver.sync()
    shutil.copyfile(log, driver.logs / name)
    if "copy" in looks:
        driver.sync()
    log.write_bytes(b"")
    append(log, text(size + 1, size + 2))
    driver.settle()
    assert driver.output() == text(0, size + 2)
    driver.restart()
    driver.settle()
    assert driver.output() == text(0, size + 2)
    assert driver.counts["bytes_lost_truncate"] == 0


def test_copies_of_many_rotations_are_not_read_again(make: MakeDriver) -> None:
    driver = make("app.log*")
    log = driver.logs / "app.log"
    driver.start()
    for number in range(6):
        append(log, text(number * 10, number * 10 + 10))
        if number % 2:
            driver.sync()
        for older in range(number, 0, -1):
            (driver.logs / f"app.log.{older}").rename(driver.logs / f"app.log.{older + 1}")
        shutil.copyfile(log, driver.logs / "app.log.1")
        if number % 3:
            driver.sync()
        log.write_bytes(b"")
        driver.settle()
    assert driver.output() == text(0, 60)
    driver.restart()
    driver.settle()
    assert driver.output() == text(0, 60)


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_copy_made_while_the_agent_was_down_is_read_on_from_the_position(
    make: MakeDriver, size: int, crash: bool
) -> None:
    driver = make("app.log*")
    log = driver.logs / "app.log"
    append(log, text(0, size))
    driver.start()
    driver.sync()
    if crash:
        driver.tail.save()
        driver.crash()
    else:
        driver.tail.close()
    append(log, text(size, size + 1))
    shutil.copyfile(log, driver.logs / "app.log.1")
    log.write_bytes(b"")
    append(log, text(size + 1, size + 70))
    driver.restart()
    driver.settle()
    assert driver.output() == text(0, size + 70)


def test_copy_that_is_being_written_is_no_stream(make: MakeDriver) -> None:
    driver = make("app.log*")
    log, copy = driver.logs / "app.log", driver.logs / "app.log.1"
    append(log, text(0, 100))
    driver.start()
    driver.sync()
    for number in range(0, 100, 20):
        append(copy, text(number, number + 20))
        driver.sync()
    log.write_bytes(b"")
    append(log, text(100, 101))
    driver.settle()
    assert driver.output() == text(0, 101)


def test_copy_made_by_hand_is_not_read_unless_it_goes_its_own_way(make: MakeDriver) -> None:
    driver = make("app.log*")
    log, copy = driver.logs / "app.log", driver.logs / "app.log.bak"
    append(log, text(0, 50))
    driver.start()
    driver.sync()
    shutil.copyfile(log, copy)
    append(log, text(50, 60))
    driver.settle()
    assert driver.output() == text(0, 60)
    append(copy, b"something else\n")
    driver.settle()
    assert driver.output() == text(0, 60) + text(0, 50) + b"something else\n"


def test_copy_outlives_its_original_without_being_read(make: MakeDriver) -> None:
    driver = make("app.log*")
    log, copy = driver.logs / "app.log", driver.logs / "app.log.1"
    append(log, text(0, 50))
    driver.start()
    driver.sync()
    shutil.copyfile(log, copy)
    driver.sync()
    log.unlink()
    driver.settle()
    assert len(driver.tail._registry) == 0
    for _restart in range(2):
        driver.restart()
        driver.settle()
    assert driver.output() == text(0, 50)


def test_files_that_begin_alike_are_both_read_when_they_differ(make: MakeDriver) -> None:
    driver = make("app.log*")
    banner = b"started\n"
    append(driver.logs / "app.log", banner + b"a\n")
    driver.start()
    driver.sync()
    append(driver.logs / "app.log.error", banner)
    append(driver.logs / "app.log.2", banner)
    driver.sync()
    assert driver.output() == banner + b"a\n" + banner, "too short to tell, unless rotation gives such names"
    append(driver.logs / "app.log.2", b"b\n")
    driver.settle()
    assert driver.output() == banner + b"a\n" + banner + banner + b"b\n"


def test_log_that_was_copied_and_deleted_while_the_agent_was_down_is_read_on_from_the_copy(
    make: MakeDriver,
) -> None:
    driver = make("app.log*")
    log = driver.logs / "app.log"
    append(log, text(0, 50))
    driver.start()
    driver.sync()
    driver.tail.close()
    append(log, text(50, 60))
    shutil.copyfile(log, driver.logs / "app.log.1")
    log.unlink()
    append(log, text(60, 61))
    driver.restart()
    driver.settle()
    assert driver.output() == text(0, 61)


@pytest.mark.parametrize("down", [False, True])
def test_rotated_files_with_the_same_lines_are_no_copies(make: MakeDriver, down: bool) -> None:
    driver = make("app.log*")
    log = driver.logs / "app.log"
    append(log, b"tick\n" * 900)
    driver.start()
    driver.sync()
    if down:
        driver.tail.close()
    log.rename(driver.logs / "app.log.2")
    append(driver.logs / "app.log.1", b"tick\n" * 700)
    append(log, b"tick\n" * 500)
    if down:
        driver.restart()
    driver.settle()
    assert driver.output() == b"tick\n" * 2100


def test_rewind_after_the_original_was_cut_reads_from_the_copy(make: MakeDriver) -> None:
    driver = make("app.log*")
    log = driver.logs / "app.log"
    append(log, text(0, 30))
    driver.start()
    driver.read()  # never committed
    shutil.copyfile(log, driver.logs / "app.log.1")
    log.write_bytes(text(30, 31))
    driver.read()
    driver.rewind()
    driver.settle()
    assert driver.output() == text(0, 31)
