"""What the demo shows fits a small terminal, and is plain in a pipe."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from qanat.demo.table import PipeDisplay, ProgramRow, View, render
from qanat.demo.watch import Busy, FileRow

PROGRAMS = [
    ProgramRow(name, "running", 4194304, 2, 123456.0, 12e6, "c1, c2")
    for name in ("m1", "m2", "m3", "a1", "a2", "c1", "c2", "c3")
]


def _view(files):
    rows = [
        FileRow(f"/var/log/a/rather/long/path/to/a/log/file/number/{n}.log", 10**10, 10**9)
        for n in range(files)
    ]
    return View(43.0, 36.0, 36.0, PROGRAMS, rows, Busy(1_234_567, 1_234_000, 12))


@pytest.mark.parametrize("files", [2, 9, 26])
def test_table_fits_a_terminal_of_100_by_30(files):
    out = io.StringIO()
    Console(file=out, width=100, height=30, force_terminal=False).print(render(_view(files), 30))
    lines = out.getvalue().splitlines()
    assert len(lines) <= 24, "and leaves room for announcements"
    assert not any("…" in line for line in lines if "/var/log" not in line)


def test_pipe_gets_a_plain_line_a_second():
    out = io.StringIO()
    display = PipeDisplay(Console(file=out, width=120, color_system=None))
    for elapsed_s in (0.0, 0.2, 0.7, 1.2, 1.7):
        display.show(View(elapsed_s, elapsed_s, 36.0, PROGRAMS, [], Busy(10, 5, 0)))
    lines = out.getvalue().splitlines()[1:]
    assert lines == [line for line in lines if line.isprintable()]
    assert [line.split(" s ")[0].strip() for line in lines] == ["0", "1"]
    assert lines[0].endswith("written 10  stored 5")
