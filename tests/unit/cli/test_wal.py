"""`qanat wal`: what it shows of a log, of a running one too, and that it changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from qanat import columns
from qanat.batch import lines_batch
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.cli.main import main
from qanat.component import Context, Cursor

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
