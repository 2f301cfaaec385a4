"""`tail` on a host that refuses: permissions, limits of inotify and of open files, full disks."""

from __future__ import annotations

import builtins
import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.tailing import inotify
from agent.tailing.inotify import IN_Q_OVERFLOW, Inotify
from qanat.errors import ConfigError, RetryableError
from tests.integration.tail_driver import MakeDriver, append


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """`refuse(EACCES)`: opening logs fails so from now on; `refuse(None)`: no more. Root is refused nothing by modes."""
    code: list[int | None] = [None]
    really_open = os.open

    def refusing(path: Any, *args: Any, **kwargs: Any) -> int:
        if code[0] is not None and "/logs/" in str(path):
            raise OSError(code[0], os.strerror(code[0]), str(path))
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    return lambda number: code.__setitem__(0, number)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_new_file_that_can_not_be_opened_is_read_once_it_can(
    make: MakeDriver, refuse: Callable[[int | None], None], number: int
) -> None:
    driver = make(rescan=10.0)
    driver.start()
    refuse(number)
    append(driver.logs / "app.log", b"1\n")
    driver.sync()
    assert driver.output() == b""
    refuse(None)
    driver.clock.advance(11)
    driver.sync()
    assert driver.output() == b"1\n"


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_known_file_that_can_not_be_opened_is_not_given_up(
    make: MakeDriver, refuse: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    driver = make("*.log", open_files=1, rescan=10.0)
    logs = [driver.logs / f"{at}.log" for at in range(3)]
    for log in logs:
        append(log, b"1\n")
    driver.start()
    driver.sync()
    refuse(number)
    really_list = os.scandir

    def no_listing(path: Any = ".") -> Any:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "scandir", no_listing)
    for log in logs:
        append(log, b"2\n")
        log.rename(str(log) + ".1")
        append(log, b"3\n")
    driver.settle()
    driver.clock.advance(11)
    driver.sync()
    refuse(None)
    monkeypatch.setattr(os, "scandir", really_list)
    driver.clock.advance(11)
    driver.settle()
    driver.settle()
    assert sorted(driver.output().split()) == [b"1"] * 3 + [b"2"] * 3 + [b"3"] * 3
    assert driver.counts["streams_lost"] == 0


def test_process_without_a_free_descriptor_goes_on_when_there_is_one(make: MakeDriver) -> None:
    driver = make("*.log", rescan=10.0)
    driver.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    for at in range(10):
        append(driver.logs / f"{at}.log", b"%d\n" % at)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 3, hard))
    try:
        driver.sync()
        driver.clock.advance(11)
        driver.sync()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    driver.clock.advance(11)
    driver.sync()
    assert sorted(driver.output().split()) == [b"%d" % at for at in range(10)]


def test_everything_is_looked_at_when_inotify_lost_events(
    make: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make("*.log")
    driver.start()
    driver.sync()
    append(driver.logs / "a.log", b"1\n")
    really = Inotify.events

    def overflowed(self: Inotify) -> Iterator[tuple[int, int, str]]:
        list(really(self))
        yield -1, IN_Q_OVERFLOW, ""

    monkeypatch.setattr(inotify.Inotify, "events", overflowed)
    driver.sync()
    assert driver.output() == b"1\n"


@pytest.mark.skipif(
    not os.access("/proc/sys/fs/inotify/max_queued_events", os.W_OK), reason="the limit is root's"
)
def test_real_overflow_of_the_queue_loses_nothing(make: MakeDriver) -> None:
    driver = make("*.log")
    limit = Path("/proc/sys/fs/inotify/max_queued_events")
    before = limit.read_text()
    try:
        limit.write_text("4")
        driver.start()
    except OSError:
        pytest.skip("the limit can't be lowered here")
    finally:
        limit.write_text(before)
    for at in range(50):
        append(driver.logs / f"{at}.log", b"%d\n" % at)
    driver.sync()
    assert len(driver.output().split()) == 50


def test_watch_limit_makes_it_poll(make: MakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Inotify, directory: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), directory)

    monkeypatch.setattr(Inotify, "watch", refused)
    driver = make(watch="inotify", poll_interval=1.0)
    driver.start()
    append(driver.logs / "app.log", b"1\n")
    driver.clock.advance(1.1)
    driver.sync()
    assert driver.output() == b"1\n"


def test_instance_limit_makes_it_poll_unless_inotify_is_asked_for(
    make: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Inotify) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Inotify, "__init__", refused)
    with pytest.raises(ConfigError, match="max_user_instances"):
        make(watch="inotify").start()
    driver = make(poll_interval=1.0)
    driver.start()
    append(driver.logs / "app.log", b"1\n")
    driver.clock.advance(1.1)
    driver.sync()
    assert driver.output() == b"1\n"


def test_dead_letters_above_the_quota_are_dropped_and_counted(make: MakeDriver) -> None:
    driver = make(oversize="dead-letter", event_bytes=10, dead_letter_quota=40)
    append(driver.logs / "app.log", b"short\n" + (b"x" * 30 + b"\n") * 3 + b"last\n")
    driver.start()
    driver.sync()
    assert driver.output() == b"short\nlast\n"
    assert driver.counts["events_dead_lettered"] == 1
    assert driver.counts["dead_letters_dropped"] == 2


@pytest.fixture
def full_state(tmp_path: Path) -> Iterator[Callable[[bool], None]]:
    """The state directory on a file system of 64 KiB: `full_state(True)` fills it, `False` frees it."""
    state = tmp_path / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(state)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting takes root")
    filler = state / "filler"

    def fill(full: bool) -> None:
        if not full:
            filler.unlink()
            return
        with builtins.open(filler, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                return

    yield fill
    subprocess.run(["umount", str(state)], check=True)


def test_full_state_directory_delays_new_files_and_stops_nothing(
    make: MakeDriver, full_state: Callable[[bool], None]
) -> None:
    driver = make("*.log")
    append(driver.logs / "old.log", b"1\n")
    driver.start()
    driver.sync()
    full_state(True)
    append(driver.logs / "old.log", b"2\n")
    append(driver.logs / "new.log", b"3\n")
    driver.clock.advance(2)
    driver.sync()
    assert driver.output() == b"1\n2\n", "what is known goes on; what is new would have no place in the state"
    with pytest.raises(RetryableError, match="can't be saved"):
        driver.tail.save()
    full_state(False)
    driver.clock.advance(2)
    driver.sync()
    assert driver.output() == b"1\n2\n3\n"
    driver.close()


def test_state_that_can_not_be_saved_costs_no_busy_loop(
    make: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make()
    driver.start()
    attempts = 0

    def refused(*_args: Any) -> None:
        nonlocal attempts
        attempts += 1
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("agent.tailing.state.save", refused)
    append(driver.logs / "app.log", b"1\n")
    for _poll in range(20):
        assert driver.tail.poll(0.001) == []
    assert attempts <= 2


def test_names_that_are_no_utf8_are_read_and_remembered(make: MakeDriver) -> None:
    driver = make("*.log")
    name = os.fsdecode(b"caf\xe9.log")
    append(driver.logs / name, b"1\n")
    driver.start()
    driver.sync()
    (batch,) = driver.arrivals
    assert batch.attributes["tailSrcFile"] == "caf\\xe9.log"
    append(driver.logs / name, b"2\n")
    driver.restart()
    driver.sync()
    assert driver.output() == b"1\n2\n"
    assert len(driver.stored) == 1


def test_directory_that_is_removed_and_made_again_is_read(make: MakeDriver) -> None:
    driver = make(rescan=10.0)
    append(driver.logs / "app.log", b"1\n")
    driver.start()
    driver.sync()
    shutil.rmtree(driver.logs)
    driver.settle()
    driver.logs.mkdir()
    append(driver.logs / "app.log", b"2\n")
    driver.clock.advance(11)
    driver.settle()
    assert driver.output() == b"1\n2\n"
