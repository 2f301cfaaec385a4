"""The demo's ledger over real log files has to find what is wrong, or its zeros mean nothing."""

from __future__ import annotations

import json

import pytest

from qanat.demo import logs

BODIES = [b"first", b"", b"\xff\xfe not UTF-8", b"last"]


@pytest.fixture
def found(tmp_path):
    path = tmp_path / "app.log"
    path.write_bytes(b"".join(body + b"\n" for body in BODIES) + b"no end yet")
    (tmp_path / "stored").mkdir()
    with logs.found([str(path)]) as found:
        yield found


def _records(found):
    """What format="json" stores of the file, one object an event."""
    (file,) = found.files
    position = 0
    for body in BODIES:
        try:
            content = {"body": body.decode()}
        except UnicodeDecodeError:
            content = {"body_base64": "//4gbm90IFVURi04"}
        yield {"stream": f"t1-{file.inode:x}-5-0123456789abcdef-1", "position": position,
               "attributes": {"file": str(file.path)}, **content}  # fmt: skip
        position += len(body) + 1


def _compare(found, records, name="logs@c1-20260101T000000.000Z-00000001.json"):
    stored = found.files[0].path.parent / "stored"
    (stored / name).write_text("".join(json.dumps(record) + "\n" for record in records))
    return logs.compare(found.files, stored)


def test_compare_is_clean_when_every_line_is_stored_once(found):
    account = _compare(found, _records(found))
    assert account.clean
    assert (account.read, account.stored) == (4, 4)


def test_compare_counts_what_is_lost(found):
    records = list(_records(found))
    account = _compare(found, [records[0], records[2]])
    assert (account.read, account.stored, account.lost) == (4, 2, 2)


def test_compare_counts_what_is_doubled_and_out_of_order(found):
    records = list(_records(found))
    account = _compare(found, [*records, records[1]])
    assert (account.lost, account.doubled, account.reordered) == (0, 1, 1)


def test_compare_counts_what_differs(found):
    records = list(_records(found))
    records[0]["body"] = "forst"
    account = _compare(found, records)
    assert (account.different, account.clean) == (1, False)


def test_compare_says_nothing_about_a_file_that_was_cut(found):
    (file,) = found.files
    file.path.write_bytes(b"first\n")
    account = _compare(found, [])
    assert (account.changed, account.read, account.clean) == ([file.path], 0, True)


def test_compare_takes_parts_of_a_split_line_for_one_line(tmp_path):
    path = tmp_path / "long.log"
    path.write_bytes(b"abcdef\n")
    with logs.found([str(path)]) as found:
        stored = tmp_path / "stored"
        stored.mkdir()
        common = {"stream": f"t1-{found.files[0].inode:x}-0-0-1", "attributes": {"file": str(path)}}
        parts = [{**common, "position": 0, "body": "abcd"}, {**common, "position": 4, "body": "ef"}]
        (stored / "x.json").write_text("".join(json.dumps(part) + "\n" for part in parts))
        account = logs.compare(found.files, stored)
    assert (account.lost, account.doubled, account.different) == (0, 0, 0)


def test_found_leaves_out_what_it_cannot_use_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 100)
    (tmp_path / "good.log").write_bytes(b"line\npart")
    (tmp_path / "empty.log").touch()
    (tmp_path / "part.log").write_bytes(b"part")
    (tmp_path / "large.log").write_bytes(b"line\n" * 100)
    (tmp_path / "star*.log").write_bytes(b"line\n")
    (tmp_path / "same.log").symlink_to("good.log")
    with logs.found([f"{tmp_path}/*.log"]) as found:
        assert [(file.path.name, file.complete) for file in found.files] == [("good.log", 5)]
        assert {path.name: why.partition(":")[0] for path, why in found.left_out.items()} == {
            "empty.log": "empty",
            "part.log": "no whole line",
            "large.log": "large",
            "star*.log": "its name reads as a pattern",
            "same.log": "another name of the same file",
        }
