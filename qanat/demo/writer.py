"""The demo's application: writes numbered lines to log files, and rotates them. A process of its own.

python -m qanat.demo.writer PARENT_PID FILE... ; SIGTERM ends it between two lines.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

from qanat.cli.child import end_with_parent
from qanat.demo.plan import LINE_BYTES, RATE_EVENTS_S, ROTATE_S

# 400 lines a write: what a busy application's buffered log does.
_TICK_S = 0.02
# After a pause (a busy machine) it catches up a second's worth at most, not everything in one block.
_EVENTS_MAX = RATE_EVENTS_S


class Application:
    """One log file: `web-N seq=0000000000 GET ...`, rotated as logrotate does: renamed, then created anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._host = path.stem.replace("busy", "web").encode()
        self._written = 0
        self._rotated = 0
        self._file: BinaryIO = path.open("ab", buffering=0)

    def write(self, until: int) -> None:
        """Lines up to number `until`, in one write."""
        lines = (_line(self._host, number) for number in range(self._written, until))
        block = memoryview(b"".join(lines))
        while block:
            block = block[self._file.write(block) :]
        self._written = until

    def rotate(self) -> None:
        """Rename the file and go on in a new one."""
        self._rotated += 1
        self._path.rename(f"{self._path}.{self._rotated}")
        self.close()
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Write no more."""
        self._file.close()


def _line(host: bytes, number: int) -> bytes:
    text = b'%b seq=%010d "GET /article/%d?page=%d" %d' % (host, number, number % 9973, number % 7, 200)
    return text.ljust(LINE_BYTES - 1, b".") + b"\n"


def main(parent: int, paths: list[Path]) -> None:
    """Write until SIGTERM; the files rotate in turns."""
    end_with_parent(parent)
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    applications = [Application(path) for path in paths]
    written, rotations = 0, 0
    began = last = time.monotonic()
    while not stopped:
        time.sleep(_TICK_S)
        now = time.monotonic()
        written += min(int((now - last) * RATE_EVENTS_S), _EVENTS_MAX)
        last = now
        for application in applications:
            application.write(written)
        if (now - began) * len(applications) >= (rotations + 1) * ROTATE_S:
            applications[rotations % len(applications)].rotate()
            rotations += 1


if __name__ == "__main__":
    main(int(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
