"""What a node keeps on its own disk, when the disk is full or has rotted."""

from __future__ import annotations

import errno

import pytest

from qanat.control import last_good
from qanat.control.assignment import Assigned
from qanat.control.last_good import LastGood
from qanat.control.last_limits import LastLimits
from qanat.control.node_messages import Lasting
from qanat.throttle import Limit

LASTING = Lasting("r1", (Assigned("web", "f", "web : a | b ;", "h"),), ())
DAMAGED = [
    b"",
    b"\0" * 100,
    b"\xff\xfe",
    b'{"revision":"\xff","statements":[]}',
    b'{"\xff":{"events_s":1}}',
    b"[]",
    b'{"revision":"x"',
]


@pytest.mark.parametrize("data", DAMAGED)
def test_damaged_file_is_nothing_rather_than_the_end_of_the_node(tmp_path, data):
    (tmp_path / last_good.FILE).write_bytes(data)
    (tmp_path / "limits.json").write_bytes(data)
    assert LastGood(tmp_path).load() == Lasting()
    assert LastLimits(tmp_path).last == {}


def test_what_does_not_fit_on_the_disk_says_why_and_leaves_the_former_until_there_is_room(
    tmp_path, monkeypatch
):
    kept = LastGood(tmp_path)
    assert kept.save(LASTING) == ""
    is_full = True
    original = last_good.replace_file

    def replace_file(path, parts):
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(path, parts)

    monkeypatch.setattr(last_good, "replace_file", replace_file)
    newer = Lasting("r2", LASTING.good, LASTING.good)
    assert "No space left" in kept.save(newer)
    assert LastGood(tmp_path).load() == LASTING
    is_full = False
    assert kept.save(newer) == ""
    assert LastGood(tmp_path).load() == newer


def test_limits_hold_though_they_can_not_be_kept(tmp_path):
    (tmp_path / "no-directory").write_bytes(b"")
    limits = LastLimits(tmp_path / "no-directory" / "x")
    limits.save({"a": Limit(1.0, 0.0)})
    assert limits.last == {"a": Limit(1.0, 0.0)}
