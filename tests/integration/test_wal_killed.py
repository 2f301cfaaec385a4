"""A process with a fileChannel, killed again and again while it writes and reads: nothing lost, doubled or reordered."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from qanat.cli.main import main
from tests.integration.wal_process import CAPACITY, CURSORS, EVENT_BYTES, event
from tests.tidy.tree import ROOT

LIVES = 8
WAIT_S_MAX = 30.0


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def live(state: Path, out: Path, grow_bytes: int) -> None:
    """One life: until every destination has so much more."""
    command = [sys.executable, "-m", "tests.integration.wal_process", str(state), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            while (
                line := process.stdout.readline()
            ) != b"open\n":  # what it says of its recovery comes first
                assert line, "it could not open the log"
            before = [size(out / name) for name in CURSORS]
            deadline_s = time.monotonic() + WAIT_S_MAX
            while any(
                size(out / name) < start + grow_bytes for name, start in zip(CURSORS, before, strict=True)
            ):
                assert process.poll() is None, "it ended by itself"
                assert time.monotonic() < deadline_s, "nothing arrives"
                time.sleep(0.003)
        finally:
            process.kill()


def test_killed_process_loses_doubles_and_reorders_nothing(tmp_path):
    state, out = tmp_path / "state", tmp_path / "out"
    state.mkdir()
    out.mkdir()
    for number in range(LIVES):
        live(state, out, 50_000 * (1 + number % 4))
    log = state / "wal-web"
    assert main(["wal", "check", str(log)]) == 0
    for name in CURSORS:
        stored = (out / name).read_bytes()
        count = len(stored) // EVENT_BYTES
        assert count > LIVES * 50_000 // EVENT_BYTES
        assert stored[: count * EVENT_BYTES] == b"".join(event(number) for number in range(count))
    assert sum(size(file) for file in log.iterdir()) < 1.2 * CAPACITY
