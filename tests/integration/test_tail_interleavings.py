"""`tail` and every order of writing, rotating, looking and crashing, for one file: each line is read once.

A step is a letter, so that a failure reads as a word; `run("sTfwRl")` repeats it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.tail_driver import Driver

PATTERNS = ["app.log", "*.log", "app.log*"]
# The application. w: write a line. b: a long one. R: rename. c: copy, and truncate before the next step of the application.
# T: copy and truncate. C: create the next file, empty. L: write a line to the file that was renamed last. t: truncate what
# is stored. D: delete it. G: delete the oldest rotated file, if all is stored.
# The agent. l: look. s: read all, store and ack it. a: read all and store it, without the ack. v: save the state. f: as s, and
# wait until what was rotated is over. x: it is killed. o: it is started, or stopped by plan and started.
STEPS = "wbRcTCLtDGlsavfxo"
# A line that comes late may be read after one that was written later.
UNORDERED = "L"
BANNER = b"#" * 1100 + b"\n"


class Story:
    """One log file and its agent."""

    def __init__(self, root: Path, pattern: str, banner: bytes = b"") -> None:
        self.banner = banner  # at the beginning of every file
        self.driver = Driver(root, pattern, watch="poll", poll_interval=1e-9)
        self.log = self.driver.logs / "app.log"
        self.now_ns = time.time_ns() - 10**15
        self.up = False
        self.rotations = 0
        self.lines: list[bytes] = []
        self.numbers = 0
        self.copied = False
        self.renamed: Path | None = None

    def step(self, letter: str) -> None:
        application = {
            "w": self.write,
            "b": lambda: self.write(1500),
            "R": self.rename,
            "c": self.copy,
            "T": self.copytruncate,
            "C": self.create,
            "L": self.write_late,
            "t": self.truncate_stored,
            "D": self.delete_stored,
            "G": self.delete_oldest,
        }
        agent = {
            "l": self.driver.poll,
            "s": self.driver.sync,
            "a": lambda: self.driver.commit(self.driver.read(), acknowledge=False),
            "v": lambda: self.driver.tail.save(),
            "f": self.driver.settle,
            "x": self.kill,
        }
        if letter in application:
            if self.copied:
                self.truncate()
            application[letter]()
        elif letter == "o":
            self.start()
        elif self.up:
            agent[letter]()

    # -- the application ----------------------------------------------------------------------------------------------

    def write(self, size: int = 0) -> None:
        if self.banner and (not self.log.exists() or self.log.stat().st_size == 0):
            self.append(self.log, self.banner)
        self.append(self.log, self.line(size))

    def line(self, size: int = 0) -> bytes:
        self.numbers += 1
        return b"%06d " % self.numbers + b"x" * (size + self.numbers * 7 % 31) + b"\n"

    def append(self, path: Path, line: bytes) -> None:
        self.lines.append(line)
        with path.open("ab") as file:
            file.write(line)
        self.stamp(path)

    def write_late(self) -> None:
        if self.renamed is not None and self.renamed.exists():
            self.append(self.renamed, self.line())

    def create(self) -> None:
        if not self.log.exists():
            self.log.touch()
            self.stamp(self.log)

    def rename(self) -> None:
        if self.log.exists():
            self.renamed = self.rotated()
            self.log.rename(self.renamed)

    def copy(self) -> None:
        if self.log.exists():
            copy = self.rotated()
            shutil.copyfile(self.log, copy)
            self.stamp(copy)
            self.copied = True

    def truncate(self) -> None:
        self.log.write_bytes(b"")
        self.stamp(self.log)
        self.copied = False

    def copytruncate(self) -> None:
        self.copy()
        if self.copied:
            self.truncate()

    def is_stored(self) -> bool:
        """And the agent runs and has looked: what nobody ever saw can't be read when it is gone."""
        if self.up:
            self.driver.sync()
        return self.up and sorted(self.driver.output().splitlines(keepends=True)) == sorted(self.lines)

    def truncate_stored(self) -> None:
        if self.log.exists() and self.is_stored():
            self.truncate()

    def delete_stored(self) -> None:
        if self.log.exists() and self.is_stored():
            self.log.unlink()

    def delete_oldest(self) -> None:
        rotated = sorted(self.log.parent.glob("app.log.*"), key=lambda path: int(path.suffix[1:]))
        if rotated and self.is_stored():
            rotated[0].unlink()

    def rotated(self) -> Path:
        self.rotations += 1
        return self.log.with_name(f"app.log.{self.rotations}")

    def stamp(self, path: Path) -> None:
        """Give every change a time of its own, as if there were some milliseconds between."""
        self.now_ns += 10**7
        os.utime(path, ns=(self.now_ns, self.now_ns))

    # -- the agent ----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        self.driver.crash()
        self.up = False

    def start(self) -> None:
        if self.up:
            self.driver.restart()
        else:
            self.driver.start()
        self.driver.clock.advance(2)
        self.driver.rewind()
        self.up = True

    def finish(self) -> None:
        if not self.up:
            self.start()
        self.driver.rewind()
        self.driver.settle()
        self.driver.settle()


def run(steps: str, pattern: str, banner: bytes = b"") -> tuple[list[bytes], list[bytes]]:
    """What is stored after these steps, and what was written. Before them, one line was written and read."""
    root = Path(tempfile.mkdtemp(prefix="tail-interleavings-"))
    story = Story(root, pattern, banner)
    try:
        for letter in "ows" + steps:
            story.step(letter)
        story.finish()
        stored, written = story.driver.output().splitlines(keepends=True), story.lines
        return (sorted(stored), sorted(written)) if set(steps) & set(UNORDERED) else (stored, written)
    finally:
        story.driver.close()
        shutil.rmtree(root)


# Each lost or doubled lines once. The first is what a chaos run met: nothing was left that knew of the path.
WORDS = [
    "TfwR", "TfwT", "TswR", "TlwR", "TlwT", "fRfwR", "TRl", "TRa", "oTR", "TRs", "wTw", "Tw", "TawT", "TDx", "cDx", "cRbfL",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", WORDS)
def test_line_is_read_once_and_in_order(steps: str, pattern: str) -> None:
    stored, written = run(steps, pattern)
    assert stored == written


@given(steps=st.text(STEPS, max_size=12), pattern=st.sampled_from(PATTERNS))
def test_line_is_read_once_and_in_order_whatever_the_steps(steps: str, pattern: str) -> None:
    stored, written = run(steps, pattern)
    assert stored == written


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", ["TwGvc", "twcw", "RwDTw", "Txb"])
def test_line_of_files_that_begin_alike_is_read_once_and_in_order(steps: str, pattern: str) -> None:
    stored, written = run(steps, pattern, BANNER)
    assert stored == written


@given(steps=st.text(STEPS, max_size=12), pattern=st.sampled_from(PATTERNS))
def test_line_is_read_once_and_in_order_when_all_files_begin_alike(steps: str, pattern: str) -> None:
    # What was read since the last save is known by its position only: here a kill comes after a save.
    stored, written = run(steps.replace("x", "vx"), pattern, BANNER)
    assert stored == written
