"""`tail` against every way in which a log file is rotated, cut, switched and lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.tail_driver import Driver, MakeDriver, append


def test_lines_come_out_untouched_when_they_hold_any_byte(make: MakeDriver) -> None:
    driver = make()
    data = b"a\0b\n\xff\xfe\n\n\r\nlast\r\n\n"
    append(driver.logs / "app.log", data + b"unterminated")
    driver.start()
    driver.sync()
    assert driver.output() == data
    batch = driver.arrivals[0]
    assert batch.count == 6
    assert dict(batch.attributes) == {
        "host": "host",
        "file": str(driver.logs / "app.log"),
        "tailSrcFile": "app.log",
    }
    append(driver.logs / "app.log", b" no more\n")
    driver.sync()
    assert driver.output() == data + b"unterminated no more\n"


def test_rename_and_create_reads_the_old_file_first(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"1\n")
    driver.start()
    driver.sync()
    append(log, b"2\nend")
    log.rename(driver.logs / "app.log.1")
    append(log, b"3\n")
    driver.sync()
    assert driver.output() == b"1\n2\n", "the successor waits while the old file may still grow"
    append(driver.logs / "app.log.1", b" late\nlast")
    driver.settle()
    assert driver.output() == b"1\n2\nend late\nlast\n3\n"
    assert list(driver.finished.values()) == [driver.logs.joinpath("app.log.1").stat().st_size]
    assert len(driver.tail._registry) == 1


def rotated(driver: Driver, old: bytes, new: bytes) -> Path:
    """`old` was read, and `new` took its place; both were looked at. Where `old` is now."""
    log = driver.logs / "app.log"
    append(log, old)
    driver.start()
    driver.sync()
    log.rename(driver.logs / "app.log.1")
    append(log, new)
    driver.sync()
    return driver.logs / "app.log.1"


def advance(driver: Driver, seconds: float) -> None:
    driver.clock.advance(seconds)
    driver.sync()


def test_successor_is_read_soon_when_the_old_file_is_quiet(make: MakeDriver) -> None:
    driver = make()
    rotated(driver, b"1\n", b"2\n")
    advance(driver, 0.4)
    assert driver.output() == b"1\n"
    advance(driver, 0.3)
    assert driver.output() == b"1\n2\n"
    assert not driver.finished, "it may still grow"


def test_successor_waits_again_when_the_old_file_grew(make: MakeDriver) -> None:
    driver = make()
    old = rotated(driver, b"1\n", b"3\n")
    advance(driver, 0.4)
    append(old, b"2\n")
    advance(driver, 0.3)
    assert driver.output() == b"1\n2\n"
    advance(driver, 0.6)
    assert driver.output() == b"1\n2\n3\n"


def test_stragglers_are_read_in_order_of_arrival_when_the_successor_is_being_read(make: MakeDriver) -> None:
    driver = make()
    old = rotated(driver, b"1\n", b"2\n")
    advance(driver, 0.6)
    append(old, b"3\n")
    advance(driver, 0.3)
    append(driver.logs / "app.log", b"4\n")
    driver.sync()
    assert driver.output() == b"1\n2\n3\n4\n"
    append(old, b"no end")
    driver.settle()
    assert driver.output() == b"1\n2\n3\n4\nno end\n"
    assert len(driver.tail._registry) == 1


def test_old_file_is_read_again_first_when_a_connection_is_lost_after_the_switch(make: MakeDriver) -> None:
    driver = make()
    rotated(driver, b"1\n", b"2\n")
    driver.committed.clear()
    driver.arrivals.clear()
    driver.clock.advance(0.6)
    driver.read()
    driver.next = dict.fromkeys(reversed(driver.next), 0)
    driver.rewind()
    driver.sync()
    assert driver.output() == b"1\n2\n"


def test_successor_waits_for_the_end_of_a_line_of_the_old_file(make: MakeDriver) -> None:
    driver = make()
    old = rotated(driver, b"1\n2", b"3\n")
    advance(driver, driver.config.rotate_wait - 1)
    assert driver.output() == b"1\n"
    append(old, b" and its end\n")
    advance(driver, 0.3)
    advance(driver, 0.6)
    assert driver.output() == b"1\n2 and its end\n3\n"


def test_successor_goes_on_after_rotate_wait_when_a_line_gets_no_end(make: MakeDriver) -> None:
    driver = make()
    rotated(driver, b"1\n2", b"3\n")
    driver.settle()
    assert driver.output() == b"1\n2\n3\n"


def test_copytruncate_is_noticed_when_the_new_content_is_longer(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"old 1\nold 2\n")
    driver.start()
    driver.sync()
    shutil.copy(log, driver.logs / "copy")
    log.write_bytes(b"new 1\nnew 2\nnew 3\nnew 4\n")
    driver.sync()
    driver.settle()
    assert driver.output() == b"old 1\nold 2\nnew 1\nnew 2\nnew 3\nnew 4\n"
    assert driver.counts["bytes_lost_truncate"] == 0


def test_copytruncate_loses_and_counts_what_was_not_read_when_there_is_no_copy(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"old 1\nold 2\n")
    driver.start()
    driver.sync()
    append(log, b"unread\n")
    driver.poll()
    log.write_bytes(b"")
    driver.settle()
    append(log, b"new\n")
    driver.settle()
    assert driver.output() == b"old 1\nold 2\nnew\n"
    assert driver.counts["bytes_lost_truncate"] == 7


def test_copytruncate_is_read_on_from_the_copy(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"old 1\n")
    driver.start()
    driver.sync()
    append(log, b"unread\n")
    driver.poll()
    shutil.copyfile(log, driver.logs / "app.log.1")
    log.write_bytes(b"new 1\n")
    driver.settle()
    assert driver.output() == b"old 1\nunread\nnew 1\n"
    assert driver.counts["bytes_lost_truncate"] == 0


def test_rewind_after_copytruncate_ends_the_stream_with_a_counted_gap(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"old 1\n")
    driver.start()
    driver.read()  # never committed
    log.write_bytes(b"brand new\n")
    driver.read()
    driver.rewind()
    driver.settle()
    assert driver.output() == b"brand new\n"
    assert driver.counts["bytes_lost_truncate"] == 6
    assert len(driver.tail._registry) == 1


def test_link_switch_finishes_the_old_target(make: MakeDriver) -> None:
    driver = make()
    data = driver.root / "data"
    data.mkdir()
    append(data / "a", b"a1\n")
    append(data / "b", b"b1\n")
    log = driver.logs / "app.log"
    log.symlink_to(data / "a")
    driver.start()
    driver.sync()
    append(data / "a", b"a2\n")
    driver.poll(0.5)
    driver.sync()
    assert driver.output() == b"a1\na2\n", "the directory of the link's target is watched too"
    (driver.logs / "new").symlink_to(data / "b")
    (driver.logs / "new").rename(log)
    append(data / "a", b"a3")
    driver.settle()
    assert driver.output() == b"a1\na2\na3\nb1\n"


def test_deleted_file_is_read_to_its_end(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"1\n")
    driver.start()
    driver.sync()
    with log.open("ab") as writer:
        writer.write(b"2\n")
        log.unlink()
        writer.flush()
        driver.sync()
        writer.write(b"3\npartial")
    driver.settle()
    assert driver.output() == b"1\n2\n3\npartial\n"
    assert len(driver.tail._registry) == 0


def test_rotated_files_that_the_glob_matches_are_read_once(make: MakeDriver) -> None:
    driver = make("app.log*")
    for number in range(4):
        append(driver.logs / "app.log", b"line %d\n" % number)
        if number == 0:
            driver.start()
        driver.sync()
        for older in (2, 1):
            if (driver.logs / f"app.log.{older}").exists():
                (driver.logs / f"app.log.{older}").rename(driver.logs / f"app.log.{older + 1}")
        (driver.logs / "app.log").rename(driver.logs / "app.log.1")
        driver.settle()
    assert driver.output() == b"line 0\nline 1\nline 2\nline 3\n"
    driver.restart()
    driver.settle()
    assert driver.output() == b"line 0\nline 1\nline 2\nline 3\n"


def test_files_rotated_while_the_agent_was_down_are_read_in_order(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"1\n")
    driver.start()
    driver.sync()
    driver.tail.close()
    append(log, b"2\n")
    log.rename(driver.logs / "app.log.1")
    append(log, b"3\n")  # created and rotated away while nobody looked
    os.utime(log, ns=(log.stat().st_atime_ns, log.stat().st_mtime_ns + 10**9))
    (driver.logs / "app.log.1").rename(driver.logs / "app.log.2")
    log.rename(driver.logs / "app.log.1")
    append(log, b"4\n")
    driver.restart()
    driver.settle()
    assert driver.output() == b"1\n2\n3\n4\n"


def test_file_compressed_away_while_the_agent_was_down_is_counted(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"1\n")
    driver.start()
    driver.sync()
    driver.tail.close()
    append(driver.logs / "app.log.1.gz", b"compressed")
    log.unlink()
    append(log, b"2\n")
    driver.restart()
    driver.settle()
    assert driver.output() == b"1\n2\n"
    assert driver.counts["streams_lost"] == 1


@pytest.mark.parametrize("damage", ["lost", "corrupt"])
def test_lost_state_is_replaced_by_what_the_collector_knows(make: MakeDriver, damage: str) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"1\n")
    driver.start()
    driver.sync()
    driver.tail.close()
    append(log, b"2\n")
    log.rename(driver.logs / "app.log.1")
    append(log, b"3\n")
    state = driver.state_dir / "tail.state"
    state.unlink() if damage == "lost" else state.write_bytes(state.read_bytes()[:-3] + b"xxx")
    driver.new()
    driver.start(connect=False)
    driver.poll()
    assert not driver.next, "files are not identified before the collector says what it knows"
    driver.tail.recover(dict(driver.committed))
    driver.settle()
    assert driver.output() == b"1\n2\n3\n"


def test_start_at_end_skips_what_exists_at_open_and_nothing_else(make: MakeDriver) -> None:
    driver = make("*.log", start="end")
    append(driver.logs / "a.log", b"old\n")
    driver.start(connect=False)
    append(driver.logs / "a.log", b"new\n")
    append(driver.logs / "b.log", b"later file\n")
    driver.tail.recover({})
    driver.sync()
    assert sorted(bytes(batch.payload) for batch in driver.arrivals) == [b"later file\n", b"new\n"]


def test_empty_file_is_no_stream_until_its_first_byte(make: MakeDriver) -> None:
    driver = make()
    (driver.logs / "app.log").touch()
    driver.start()
    driver.sync()
    assert len(driver.tail._registry) == 0
    append(driver.logs / "app.log", b"x\n")
    driver.sync()
    assert driver.output() == b"x\n"


def test_reused_inode_is_another_stream(make: MakeDriver) -> None:
    driver = make(open_files=1)
    append(driver.logs / "app.log", b"first file\n")
    driver.start()
    driver.sync()
    driver.restart()
    driver.tail.close()
    (driver.logs / "app.log").unlink()
    append(driver.logs / "app.log", b"second file, longer\n")
    driver.restart()
    driver.settle()
    assert driver.output() == b"first file\nsecond file, longer\n"
    assert driver.counts["streams_lost"] == 1, "the first file may have grown before it was deleted"


def test_seek_beyond_the_file_goes_on_with_what_is_written_next(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"1\n2\n")
    driver.start()
    driver.poll()
    stream = next(iter(driver.next))
    driver.tail.seek(stream, 100)
    driver.tail.seek("unknown", 5)
    driver.committed[stream] = driver.next[stream] = 100
    driver.settle()
    append(log, b"3\n")
    driver.settle()
    assert driver.output() == b"3\n"
    assert driver.counts["seeks_clamped"] == driver.counts["seeks_unknown"] == 1


def test_returning_file_goes_on_where_it_ended(make: MakeDriver) -> None:
    driver = make()
    log = driver.logs / "app.log"
    append(log, b"1\n")
    driver.start()
    driver.sync()
    log.rename(driver.logs / "away")
    driver.settle()
    assert len(driver.tail._registry) == 0
    (driver.logs / "away").rename(log)
    driver.settle()
    append(log, b"2\n")
    driver.settle()
    assert driver.output() == b"1\n2\n"


def test_paths_that_are_no_files_are_skipped(make: MakeDriver) -> None:
    driver = make("*", "missing/dir/x.log")
    os.mkfifo(driver.logs / "fifo")
    (driver.logs / "directory").mkdir()
    append(driver.logs / "file", b"1\n")
    driver.start()
    driver.sync()
    (driver.logs / "missing" / "dir").mkdir(parents=True)
    driver.poll(0.5)
    append(driver.logs / "missing" / "dir" / "x.log", b"2\n")
    driver.poll(0.5)
    driver.sync()
    assert driver.output() == b"1\n2\n"


def test_more_files_than_may_be_open_are_all_read(make: MakeDriver) -> None:
    driver = make("*.log", open_files=4)
    names = [f"{number}.log" for number in range(20)]
    for name in names:
        append(driver.logs / name, b"1\n")
    driver.start()
    driver.sync()
    assert len(driver.tail._handles) <= 4
    for name in names:
        append(driver.logs / name, b"2\n")
        (driver.logs / name).rename(driver.logs / (name + ".old"))
        append(driver.logs / name, b"3\n")
    driver.settle()
    assert len(driver.arrivals) == 60
    assert len(driver.tail._registry) == 20
    assert driver.counts["streams_lost"] == 0


def test_polling_finds_what_inotify_would(make: MakeDriver) -> None:
    driver = make("**/*.log", watch="poll", rescan=1.0)
    driver.start()
    (driver.logs / "deep" / "er").mkdir(parents=True)
    append(driver.logs / "deep" / "er" / "x.log", b"1\n")
    driver.clock.advance(1.1)
    driver.sync()
    append(driver.logs / "deep" / "er" / "x.log", b"2\n")
    driver.clock.advance(1.1)
    driver.sync()
    assert driver.output() == b"1\n2\n"
