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
# w: write a line. R: rename. T: copy and truncate. C: create the next file, empty. l: look. s: read all, store and ack it.
# a: read all and store it, without the ack. v: save the state. f: as s, and wait until what was rotated is over.
# x: the agent is killed. o: the agent is started, or stopped by plan and started.
STEPS = "wRTClsavfxo"


class Story:
    """One log file and its agent."""

    def __init__(self, root: Path, pattern: str) -> None:
        self.driver = Driver(root, pattern, watch="poll", poll_interval=1e-9)
        self.log = self.driver.logs / "app.log"
        self.now_ns = time.time_ns() - 10**15
        self.up = False
        self.rotations = 0
        self.lines: list[bytes] = []

    def step(self, letter: str) -> None:
        application = {"w": self.write, "R": self.rename, "T": self.copytruncate, "C": self.create}
        agent = {
            "l": self.driver.poll,
            "s": self.driver.sync,
            "a": lambda: self.driver.commit(self.driver.read(), acknowledge=False),
            "v": lambda: self.driver.tail.save(),
            "f": self.driver.settle,
            "x": self.kill,
        }
        if letter in application:
            application[letter]()
        elif letter == "o":
            self.start()
        elif self.up:
            agent[letter]()

    # -- the application ----------------------------------------------------------------------------------------------

    def write(self) -> None:
        self.lines.append(b"%06d " % len(self.lines) + b"x" * (len(self.lines) * 7 % 31) + b"\n")
        with self.log.open("ab") as file:
            file.write(self.lines[-1])
        self.stamp(self.log)

    def create(self) -> None:
        if not self.log.exists():
            self.log.touch()
            self.stamp(self.log)

    def rename(self) -> None:
        if self.log.exists():
            self.log.rename(self.rotated())

    def copytruncate(self) -> None:
        if self.log.exists():
            copy = self.rotated()
            shutil.copyfile(self.log, copy)
            self.stamp(copy)
            self.log.write_bytes(b"")
            self.stamp(self.log)

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


def run(steps: str, pattern: str) -> tuple[list[bytes], list[bytes]]:
    """What is stored after these steps, and what was written. Before them, one line was written and read."""
    root = Path(tempfile.mkdtemp(prefix="tail-interleavings-"))
    story = Story(root, pattern)
    try:
        for letter in "ows" + steps:
            story.step(letter)
        story.finish()
        return story.driver.output().splitlines(keepends=True), story.lines
    finally:
        story.driver.close()
        shutil.rmtree(root)


# Each lost or doubled lines once. The first is what a chaos run met: nothing was left that knew of the path.
WORDS = [
    "TfwR", "TfwT", "TswR", "TlwR", "TlwT", "fRfwR", "xTwTo", "TRl", "TRa", "oTR", "TRs", "wTw", "Tw", "TawT",
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
