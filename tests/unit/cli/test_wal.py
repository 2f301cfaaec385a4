"""`qanat wal`: what it shows of a log, of a running one too, and that it changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qanat import columns
from qanat.batch import lines_batch
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.cli.main import main
from qanat.component import Context, Cursor

NOBODY = 65_534
EVENTS = [b"event %03d\n" % number for number in range(100)]


@pytest.fixture
def channel(tmp_path):
    """One that is open, with a hundred events in batches of five, in some segments."""
    channel = FileChannel(FileChannelConfig(capacity=16_000), Context("p", "web", "h", tmp_path))
    channel.open([Cursor("a"), Cursor("b")])
    for number in range(0, 100, 5):
        payload = b"".join(EVENTS[number : number + 5])
        assert channel.put(lines_batch("/var/log/x", number * 10, payload, timestamp_ns=1, attributes={}))
    while channel.accepted().get("/var/log/x") != 1_000:
        channel.wait_for_room(0.05)
    yield channel
    channel.close()


def run(capfdbinary, *arguments: object) -> tuple[int, str, str]:
    code = main(["wal", *map(str, arguments)])
    out, err = capfdbinary.readouterr()
    return code, out.decode(), err.decode()


def content(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_inspect_shows_segments_cursors_and_sources_of_a_running_channel(channel, capfdbinary):
    channel.log.acknowledge("a", 40)
    channel.log.cursors.save_all()
    before = content(channel.directory)
    code, out, _ = run(capfdbinary, "inspect", channel.directory, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["oldest"], found["number"], found["taken"]) == (0, 100, {"/var/log/x": 1_000})
    assert {each["name"]: (each["position"], each["waiting"]) for each in found["cursors"]} == {
        "a": (40, 60),
        "b": (0, 100),
    }
    assert len(found["segments"]) > 1
    assert found["damages"] == []
    code, out, _ = run(capfdbinary, "inspect", channel.directory)
    assert code == 0
    assert "/var/log/x" in out
    assert content(channel.directory) == before


def test_check_is_content_with_a_good_log_and_with_an_unfinished_record(channel, capfdbinary):
    assert run(capfdbinary, "check", channel.directory)[0] == 0
    with (channel.directory / channel.log.segments.all[-1].name).open("ab") as file:
        file.write(b"\xf5QW1 begun")
    code, out, _ = run(capfdbinary, "check", channel.directory)
    assert code == 0
    assert "unfinished at the end: 10 bytes" in out


def test_check_says_where_damage_is_and_export_leaves_it_out(channel, capfdbinary):
    segment = channel.directory / channel.log.segments.all[0].name
    data = segment.read_bytes()
    segment.write_bytes(data.replace(b"event 006", b"event 666"))
    code, out, _ = run(capfdbinary, "check", channel.directory)
    assert code == 1
    assert f"{segment.name}: damaged at byte" in out
    assert "events 5 to 10" in out
    code, out, err = run(capfdbinary, "export", channel.directory)
    assert code == 1
    assert out.encode() == b"".join(EVENTS[:5] + EVENTS[10:])
    assert "5 events are damaged" in err


@pytest.mark.parametrize(
    ("first", "last"), [(0, 100), (7, 100), (0, 13), (7, 8), (33, 71), (50, 50), (90, 200)]
)
def test_export_prints_the_events_that_were_asked_for(channel, capfdbinary, first, last):
    code, out, _ = run(capfdbinary, "export", channel.directory, "--from", first, "--to", last)
    assert code == 0
    assert out.encode() == b"".join(EVENTS[first:last])


def test_export_prints_columns_as_lines_into_a_file(channel, capfdbinary, tmp_path):
    more = columns.to_columns(lines_batch("other", 0, b"x\ny\n", timestamp_ns=1, attributes={}))
    assert channel.put(more)
    channel.close()
    target = tmp_path / "out.txt"
    assert run(capfdbinary, "export", channel.directory, "--from", 98, "-o", target)[0] == 0
    assert target.read_bytes() == b"".join(EVENTS[98:]) + b"x\ny\n"


def test_directory_above_logs_is_an_error_that_names_them(tmp_path, capfdbinary):
    for number in range(12):
        log = tmp_path / "agent-a1" / f"n{number:02}" / "channel" / f"wal-n{number:02}"
        log.mkdir(parents=True)
        (log / "0000000001-00000000000000000000.wal").touch()
    code, _, err = run(capfdbinary, "inspect", tmp_path)
    assert code == 2
    assert f"name one of those below it: {tmp_path}/agent-a1/n00/channel/wal-n00, " in err
    assert "wal-n09, and 2 more" in err


def test_directory_without_a_log_is_an_error_that_says_so(tmp_path, capfdbinary):
    code, _, err = run(capfdbinary, "inspect", tmp_path)
    assert code == 2
    assert "holds no log" in err
    assert run(capfdbinary, "check", tmp_path / "nowhere")[0] == 2


def test_reading_lines_loads_nothing_of_the_agent_and_no_arrow(channel):
    script = (
        "import sys; from qanat.cli.main import main;"
        f"code = main(['wal', 'export', {str(channel.directory)!r}, '--from', '7']);"
        "print(code, sorted({'pyarrow', 'agent', 'grpc', 'sqlite3'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"".join(EVENTS[7:])
    assert done.stderr.decode().split(maxsplit=1)[1].strip() == "[]"


def test_export_counts_what_is_missing_at_either_end_of_what_was_asked_for(channel, capfdbinary):
    segment = channel.directory / channel.log.segments.all[0].name
    segment.write_bytes(segment.read_bytes().replace(b"event 006", b"event 666"))
    for first, last, good in ((5, 10, 0), (6, 12, 2), (0, 8, 5)):
        code, out, err = run(capfdbinary, "export", channel.directory, "--from", first, "--to", last)
        assert code == 1
        assert len(out.splitlines()) == good
        assert f"{last - first - good} events are damaged" in err


def test_export_of_what_a_running_agent_deletes_meanwhile_is_no_damage(channel, capfdbinary, monkeypatch):
    from qanat.channels.wal import survey

    def surveyed(directory, *, verify):
        found = look(directory, verify=verify)
        (channel.directory / channel.log.segments.all[0].name).unlink()
        return found

    look = survey.survey
    monkeypatch.setattr(survey, "survey", surveyed)
    assert run(capfdbinary, "export", channel.directory)[0] == 0


def test_export_refuses_a_range_that_ends_before_it_begins(channel, capfdbinary):
    code, _, err = run(capfdbinary, "export", channel.directory, "--from", 12, "--to", 10)
    assert code == 2
    assert "10 is before --from 12" in err
    assert run(capfdbinary, "export", channel.directory, "--from", 12, "--to", 12) == (0, "", "")


def test_export_to_a_file_that_cannot_be_written_says_so(channel, capfdbinary, tmp_path):
    for path in (tmp_path / "no such directory" / "x", tmp_path):
        code, out, err = run(capfdbinary, "export", channel.directory, "-o", path)
        assert code == 2
        assert out == ""
        assert f"-o {path}: can't write there" in err
        assert "name a file" in err


def test_export_of_no_log_leaves_the_output_alone(tmp_path, capfdbinary):
    output = tmp_path / "precious"
    output.write_text("as it was")
    code, _, err = run(capfdbinary, "export", tmp_path, "-o", output)
    assert code == 2
    assert "holds no log" in err
    assert output.read_text() == "as it was"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_log_of_somebody_else_is_an_error_that_says_so(channel, capfdbinary):
    os.seteuid(NOBODY)
    try:
        for command in ("inspect", "check", "export"):
            code, _, err = run(capfdbinary, command, channel.directory)
            assert code == 2
            assert "can't be read" in err
            assert "Permission denied" in err
    finally:
        os.seteuid(0)


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _headless(path: Path) -> None:
    path.write_bytes(b"x" * 300 + path.read_bytes()[300:])


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


TROUBLES: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "zeros": _zeros,
    "flipped": _flipped,
    "headless": _headless,
    "noise": lambda path: path.write_bytes(b"\xa5" * 5_000),
    "directory": _directory,
}


@pytest.mark.parametrize("at", [0, 1, -1])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_whatever_was_done_to_a_segment_the_rest_is_shown_and_exported(
    tmp_path, capfdbinary, trouble: str, at: int
):
    channel = FileChannel(FileChannelConfig(capacity=16_000, segment=500), Context("p", "web", "h", tmp_path))
    channel.open([Cursor("a")])
    for number in range(0, 100, 5):
        payload = b"".join(EVENTS[number : number + 5])
        assert channel.put(lines_batch("/var/log/x", number * 10, payload, timestamp_ns=1, attributes={}))
    channel.close()
    segments = sorted(channel.directory.glob("*.wal"))
    assert len(segments) > 3
    TROUBLES[trouble](segments[at])
    codes, texts = {}, {}
    for command in ("inspect", "check", "export"):
        codes[command], texts[command], err = run(capfdbinary, command, channel.directory)
        assert "Traceback" not in err
    assert codes["inspect"] == 0
    is_end = at == -1 or (
        at == 0 and trouble in ("removed", "directory")
    )  # torn, or reaped, as far as one can tell
    assert is_end or codes["check"] == codes["export"] == 1
    rest = texts["export"].encode().splitlines(keepends=True)
    assert rest == [event for event in EVENTS if event in rest]
    assert len(rest) >= 50


def test_cursor_that_is_damaged_or_a_directory_hides_nothing_else(channel, capfdbinary):
    channel.close()
    (channel.directory / "a.cursor").write_bytes(b"\0" * 50)
    (channel.directory / "b.cursor").unlink()
    (channel.directory / "b.cursor").mkdir()
    code, out, _ = run(capfdbinary, "inspect", channel.directory)
    assert code == 0
    assert "events 0 to 100" in out
