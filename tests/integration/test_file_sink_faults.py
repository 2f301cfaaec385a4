"""The file sink in trouble: what it refuses, what it says, and how it goes on afterwards."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector.files import disk
from qanat.errors import ConfigError, CorruptError, RetryableError
from tests.integration.file_driver import Driver, lines


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """With one committed event in an open file."""
    made = Driver(tmp_path / "root").open()
    made.sink.append(lines("a", [b"1"]))
    made.commit()
    yield made
    made.sink.close()


def temporary(driver: Driver) -> Path:
    (path,) = driver.work.glob(".*.tmp")
    return path


def test_open_raises_while_another_sink_of_the_same_name_has_the_lock(driver: Driver) -> None:
    other = Driver(driver.root)
    with pytest.raises(RetryableError, match="locked"):
        other.open()
    driver.sink.close()
    other.token = driver.token
    other.open()
    other.finish()
    assert other.stored() == {"a": [b"1"]}


def test_sinks_of_other_names_share_a_directory(driver: Driver) -> None:
    other = Driver(driver.root)
    other.context = type(other.context)("node2", "coll", "here", driver.root)
    other.restart()
    other.sink.append(lines("a", [b"2"]))
    other.finish()
    driver.finish()
    assert sorted(driver.stored()["a"]) == [b"1", b"2"]


def test_recovery_says_what_is_damaged_when_a_file_is_shorter_than_committed(driver: Driver) -> None:
    os.truncate(temporary(driver), 1)
    with pytest.raises(CorruptError, match=r"has 1 bytes, but 2 were committed"):
        driver.restart()


def test_recovery_says_what_is_missing_when_a_committed_file_was_deleted(driver: Driver) -> None:
    temporary(driver).unlink()
    with pytest.raises(CorruptError, match=r"1 committed events \(2 bytes\) are gone"):
        driver.restart()


def test_recovery_changes_nothing_when_anything_is_damaged(driver: Driver) -> None:
    driver.sink.append(lines("b", [b"2"]))
    driver.commit()
    driver.sink.append(lines("b", [b"never committed"]))
    driver.sink.close()
    paths = sorted(driver.work.glob(".*.tmp"))
    paths[0].unlink()
    with pytest.raises(CorruptError):
        driver.restart()
    assert (driver.work / paths[1].name).read_bytes() == b"2\nnever committed\n"


def test_a_published_file_that_its_reader_took_away_is_not_missed(driver: Driver) -> None:
    driver.sink.drain()
    driver.commit()
    for path in driver.final_files():
        path.unlink()
    driver.restart()  # the token still names it
    driver.finish()
    assert driver.final_files() == []


def test_a_finished_file_that_was_deleted_before_it_was_published_is_missed(driver: Driver) -> None:
    driver.sink.drain()
    driver.commit(publish=False)
    temporary(driver).unlink()
    with pytest.raises(CorruptError, match="was never published"):
        driver.restart()


def test_recovery_leaves_files_of_strangers_alone(driver: Driver) -> None:
    names = (".other.tmp", "notes")
    for path in (*(driver.work / name for name in names), driver.root / ".x.tmp"):
        path.write_text("mine")
    driver.restart()
    assert all((driver.work / name).read_text() == "mine" for name in names)
    assert (driver.root / ".x.tmp").read_text() == "mine"


def test_open_refuses_a_token_of_another_directory(driver: Driver) -> None:
    other = Driver(driver.root.parent / "elsewhere")
    other.token = driver.token
    with pytest.raises(ConfigError, match="Start it with the old directory once more"):
        other.open()
    other.sink.close()


@pytest.mark.parametrize("token", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x91\x63"])
def test_open_refuses_bytes_that_are_no_token(driver: Driver, token: bytes) -> None:
    driver.token = token
    with pytest.raises(CorruptError):
        driver.restart()


def test_a_symbolic_link_below_the_root_is_never_followed(driver: Driver, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (driver.root / "a").symlink_to(outside)
    driver.sink.drain()
    with pytest.raises(RetryableError, match="may be a symbolic link"):
        driver.commit()
    assert list(outside.iterdir()) == []
    (driver.root / "a").unlink()
    driver.sink.discard(driver.token)
    driver.finish()
    assert driver.stored() == {"a": [b"1"]}


def test_open_names_the_path_and_the_reason_when_the_directory_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file")
    broken = Driver(tmp_path / "root")
    with pytest.raises(RetryableError, match=r"root.*(Not a directory|File exists)"):
        broken.open()


def fails(error: int) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise OSError(error, os.strerror(error))

    return call


def test_full_disk_at_append_is_retryable_and_leaves_nothing_behind(driver: Driver) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # CPython ignores SIGXFSZ: a write beyond the limit is short, and the next one fails, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
    try:
        with pytest.raises(RetryableError, match="File too large"):
            driver.sink.append(lines("a", [b"x" * 50_000]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    with pytest.raises(RetryableError, match="not discarded since"):
        driver.sink.append(lines("a", [b"2"]))
    driver.sink.discard(driver.token)
    driver.sink.append(lines("a", [b"2"]))
    driver.finish()
    assert driver.stored() == {"a": [b"1", b"2"]}


def test_a_failed_sync_is_never_repeated_as_if_nothing_had_happened(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.sink.append(lines("a", [b"lost pages"]))
    prepared = driver.sink.prepare()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails(errno.EIO))
        with pytest.raises(RetryableError, match="Input/output error"):
            prepared.sync()
    for attempt in (prepared.sync, driver.sink.prepare, lambda: driver.sink.publish(prepared.token)):
        with pytest.raises(RetryableError, match="not discarded since"):
            attempt()
    driver.sink.discard(driver.token)
    assert temporary(driver).read_bytes() == b"1\n"
    driver.sink.append(lines("a", [b"again"]))
    driver.finish()
    assert driver.stored() == {"a": [b"1", b"again"]}


@pytest.mark.parametrize("format", ["raw", "parquet", "orc"])
def test_a_failed_publish_goes_on_after_discard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    driver = Driver(tmp_path, format=format).open()
    driver.sink.append(lines("a", [b"1"]))
    driver.sink.drain()
    driver.commit(publish=False)
    assert driver.token is not None
    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename_new", fails(errno.ENOSPC))
        with pytest.raises(RetryableError, match=r"renaming .* to .*No space left on device"):
            driver.sink.publish(driver.token)
    driver.sink.discard(driver.token)
    driver.finish()
    assert driver.stored() == {"a": [b"1"]}


def test_renaming_without_kernel_support_still_never_overwrites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_renameat2", None)
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            disk.rename_new(tmp_path / "a", fd, "b")
        disk.rename_new(tmp_path / "a", fd, "c")
    finally:
        os.close(fd)
    assert ((tmp_path / "b").read_text(), (tmp_path / "c").read_text()) == ("b", "a")


def test_more_directories_are_published_at_once_than_descriptors_are_left(tmp_path: Path) -> None:
    driver = Driver(tmp_path, open_files_max=2).open()
    for number in range(60):
        driver.sink.append(lines(f"h{number}", [b"1"]))
    driver.sink.drain()
    driver.commit(publish=False)
    assert driver.token is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 20, hard))
    try:
        driver.sink.publish(driver.token)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    driver.sink.close()
    assert len(driver.stored()) == 60


def test_unfinished_files_are_kept_when_the_store_has_lost_the_commit(driver: Driver) -> None:
    driver.sink.close()
    again = Driver(driver.root)  # without a token: nothing is known to be committed
    again.open()
    again.sink.close()
    kept = [path for path in driver.root.rglob("*.tmp") if path.parent.name.startswith("set-aside-")]
    assert [path.read_bytes() for path in kept] == [b"1\n"]
    assert again.final_files() == []
