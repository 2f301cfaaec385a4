"""The shell of `fileChannel`: lock, threads, failures of the disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qanat.batch import Batch, lines_batch
from qanat.channels import file as module
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.component import Context, Cursor
from qanat.errors import ConfigError, NotConnectedError, QanatError, RetryableError

WAIT_S_MAX = 20.0


def channel_in(directory: Path, **options: object) -> FileChannel:
    config = FileChannelConfig(capacity=1 << 20, **options)  # type: ignore[arg-type]
    return FileChannel(config, Context("p", "web", "h", directory))


def batch(number: int) -> Batch:
    return lines_batch(
        "s", number * 8, b"event %d\n" % number, timestamp_ns=1, attributes={}, end=number * 8 + 8
    )


def until_accepted(channel: FileChannel, position: int) -> None:
    deadline_s = time.monotonic() + WAIT_S_MAX
    while channel.accepted().get("s") != position:
        assert time.monotonic() < deadline_s, "waited in vain"
        channel.wait_for_room(0.02)


def test_second_process_waits_for_the_lock_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOCK_S_MAX", 0.05)
    first, second = channel_in(tmp_path), channel_in(tmp_path)
    first.open([Cursor("a")])
    with pytest.raises(NotConnectedError, match="lock"):
        second.open([Cursor("a")])
    first.close()
    second.open([Cursor("a")])
    second.close()


@pytest.mark.parametrize(
    ("options", "message"), [({"path": "here"}, "absolute"), ({"segment": 0}, "segment")]
)
def test_configuration_that_cannot_work_is_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        channel_in(tmp_path, **options).open([])


def test_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="create"):
        channel_in(tmp_path, path=str(tmp_path / "file")).open([])


def test_log_may_be_on_another_disk(tmp_path):
    channel = channel_in(tmp_path / "state", path=str(tmp_path / "disk"))
    channel.open([Cursor("a")])
    channel.close()
    assert (tmp_path / "disk" / "wal-web").is_dir()
    assert not (tmp_path / "state").exists()


def test_failed_sync_is_made_good_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    channel = channel_in(tmp_path)
    channel.open([Cursor("a")])
    channel.put(batch(0))
    until_accepted(channel, 8)
    fdatasync, failures = os.fdatasync, iter([errno.EIO])

    def failing(fd: int) -> None:
        is_segment = os.readlink(f"/proc/self/fd/{fd}").endswith(".wal")  # not a cursor's file
        if is_segment and (code := next(failures, None)) is not None:
            raise OSError(code, os.strerror(code))
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", failing)
    channel.put(batch(1))
    until_accepted(channel, 16)
    assert len(channel.log.segments.all) == 2
    channel.close()
    again = channel_in(tmp_path)
    assert again.open([Cursor("a")]) == {"s": 16}
    assert again.log.number == 2
    again.close()


def test_full_disk_is_back_pressure(tmp_path, monkeypatch):
    channel = channel_in(tmp_path)
    channel.open([Cursor("a")])
    pwritev = os.pwritev

    def full(fd: int, parts: object, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(RetryableError, match="free space"):
        channel.put(batch(0))
    monkeypatch.setattr(os, "pwritev", pwritev)
    assert channel.put(batch(0))
    until_accepted(channel, 8)
    channel.close()


def test_thread_that_fails_stops_the_channel(tmp_path, monkeypatch):
    channel = channel_in(tmp_path)
    channel.open([Cursor("a")])

    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(channel.log, "reap", broken)
    channel.put(batch(0))
    deadline_s = time.monotonic() + WAIT_S_MAX
    while channel._failure is None and time.monotonic() < deadline_s:
        time.sleep(0.005)
    with pytest.raises(QanatError, match="a bug"):
        channel.put(batch(1))
    channel.close()


def test_group_commit_makes_small_puts_durable_together(tmp_path, monkeypatch):
    channel = channel_in(tmp_path, sync_interval=0.05)
    channel.open([Cursor("a")])
    syncs = []
    fdatasync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append(fd), fdatasync(fd)))
    for number in range(200):
        channel.put(batch(number))
    until_accepted(channel, 1_600)
    assert 0 < len(syncs) < 100
    channel.close()


def test_lines_pass_without_arrow(tmp_path):
    script = f"""
import sys
from pathlib import Path
from qanat.batch import lines_batch
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.component import Context, Cursor
channel = FileChannel(FileChannelConfig(), Context("p", "web", "h", Path({str(tmp_path)!r})))
channel.open([Cursor("a")])
channel.put(lines_batch("s", 0, b"a\\nb\\n", timestamp_ns=1, attributes={{}}))
reader = channel.reader("a")
reader.open()
reader.recover({{}})
reader.seek(reader.poll(0)[0].stream, 1)
while (batch := reader.read(100)) is None:
    reader.poll(1)
assert batch.payload == b"b\\n"
channel.close()
sys.exit("pyarrow" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
