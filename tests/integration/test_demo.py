"""`qanat demo` as a user runs it, shortened."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

# Long enough for all that happens; a machine that is busy with other tests needs a multiple of it.
SECONDS = "10"
WAIT_S_MAX = 240


def _start(directory: Path, *options: str, seconds: str = SECONDS) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "qanat", "demo", "--seconds", seconds, "--dir", str(directory), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _processes(directory: Path) -> list[str]:
    """Command lines of whatever still works in `directory`."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if str(directory) in command and process.status() != psutil.STATUS_ZOMBIE:
            found.append(command)
    return found


def _wait_until_gone(directory: Path) -> None:
    deadline_s = time.monotonic() + WAIT_S_MAX
    while left := _processes(directory):
        assert time.monotonic() < deadline_s, left
        time.sleep(0.05)


ZOOKEEPER = ("--zookeeper",)


@pytest.mark.parametrize(
    "options", [(), pytest.param(ZOOKEEPER, marks=pytest.mark.long)], ids=["embedded", "zookeeper"]
)
def test_demo_loses_nothing_when_it_is_changed_and_programs_are_killed(tmp_path, request, options):
    if options:
        request.getfixturevalue("zookeeper_installed")
    demo = _start(tmp_path / "demo", *options)
    out, errors = demo.communicate(timeout=WAIT_S_MAX)
    assert (demo.returncode, errors) == (0, ""), out
    assert all(line.isprintable() for line in out.splitlines()), "no control characters in a pipe"
    killed = re.findall(r"SIGKILL to (\w+) (\w+)", out)
    assert [tier for tier, _ in killed] == ["master", "collector", "agent"]
    assert re.findall(r"^ +\d+ s  \$ qanat (.*)$", out, re.MULTILINE) == [
        "apply collectors.flow --yes --wait",
        "apply agents.flow --yes --wait",
        "status",
        "apply changed.flow --yes --wait",
        "refresh web1 web2",
        "status",
    ]
    assert "agent a2 delivers to collector c3 now" in out
    assert "agent a1 delivers to collector c2 now" in out
    master = killed[0][1]
    assert f"no longer to {master}" in out
    read, stored, *faults = re.search(r"^ together +(.*)$", out, re.MULTILINE)[1].split()
    assert read == stored
    assert faults == ["0", "0", "0"]
    assert int(read.replace(",", "")) > 2 * 4 * 10_000
    assert {path.suffix for path in (tmp_path / "demo" / "stored" / "busy").iterdir()} >= {".log", ".gz"}
    assert _processes(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "code", "options"),
    [
        (signal.SIGINT, 130, ()),
        (signal.SIGTERM, 130, ()),
        (signal.SIGKILL, -9, ()),
        pytest.param(signal.SIGINT, 130, ZOOKEEPER, marks=pytest.mark.long),
        pytest.param(signal.SIGKILL, -9, ZOOKEEPER, marks=pytest.mark.long),
    ],
)
def test_demo_leaves_no_process_behind(tmp_path, request, number, code, options):
    if options:
        request.getfixturevalue("zookeeper_installed")
    demo = _start(tmp_path / "demo", *options, seconds="60")
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "begins to write" in line:
                break
        os.kill(demo.pid, number)
        _, errors = demo.communicate(timeout=WAIT_S_MAX)
        assert (demo.returncode, errors) == (code, "")
        _wait_until_gone(tmp_path)
    finally:
        demo.kill()
        demo.wait()


def test_demo_refuses_a_directory_that_is_in_use(tmp_path):
    (tmp_path / "mine").touch()
    demo = _start(tmp_path)
    out, errors = demo.communicate(timeout=WAIT_S_MAX)
    assert demo.returncode == 2
    assert "is not empty" in errors
    assert out == ""
