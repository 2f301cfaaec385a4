"""`spoolDir` and every order of dropping, reading, storing and dying: each event is stored once, and files in their order.

A step is a letter, so that a failure reads as a word; `run("dsx...")` repeats it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.spooling import completion, state
from tests.integration.spool_driver import SpoolDriver

# The application. d: drop a file. D: drop a large one.
# The agent. l: look. r: read a batch, keep it. s: store what was read. S: store the first batch of it. a: say what is stored, and
# complete, after a look whether files are read to their ends. w: a new connection: all is read again from what is stored. x: it
# is killed. m: it is killed in the middle of completing: the state is saved, nothing is renamed. M: as m, a file is renamed and
# the state is not saved again. o: it is started, or stopped by plan and started.
STEPS = "dDlrsSawxmMo"
OPTIONS = [
    {},
    {"delete": "immediate"},
    {"tracking": "tracker_dir"},
    {"deserializer": "json"},
    {"deserializer": "csv", "columns": ["n", "x"]},
]


class Killed(BaseException):
    """In the middle of something."""


class Story:
    """One directory and its agent."""

    def __init__(self, root: Path, options: dict[str, object]) -> None:
        self.driver = SpoolDriver(root, **options)
        self.is_json = options.get("deserializer") == "json"
        self.lines: list[bytes] = []
        self.files = 0
        self.held: list = []
        self.up = False

    def step(self, letter: str) -> None:
        if letter in "dD":
            self.drop(2000 if letter == "D" else 3)
        elif letter == "o":
            self.start()
        elif self.up:
            {
                "l": self.driver.poll,
                "r": self.read,
                "s": lambda: self.store(len(self.held)),
                "S": lambda: self.store(1),
                "a": self.acknowledge,
                "w": self.rewind,
                "x": self.kill,
                "m": lambda: self.kill_completing(completion.Completion, "finish"),
                "M": lambda: self.kill_completing(completion.Completion, "sync"),
            }[letter]()

    def drop(self, count: int) -> None:
        self.files += 1
        lines = [
            b'{"n": %d, "x": 1}' % n if self.is_json else b"%d,%s" % (n, b"x" * (n % 100))
            for n in range(len(self.lines), len(self.lines) + count)
        ]
        self.driver.drop(f"{self.files:04d}.log", b"\n".join(lines) + b"\n" * (self.files % 2))
        self.lines += lines

    def read(self) -> None:
        self.held += self.driver.read(10_000, batches=1)

    def store(self, count: int) -> None:
        self.driver.commit(self.held[:count], acknowledge=False)
        del self.held[:count]

    def acknowledge(self) -> None:
        self.read()  # that a file is at its end is only known then
        self.driver.acknowledge()

    def rewind(self) -> None:
        self.held.clear()
        self.driver.rewind()

    def kill(self) -> None:
        self.held.clear()
        self.driver.crash()
        # What was finished is told again; until then the collector remembers.
        self.driver.finished.clear()
        self.up = False

    def kill_completing(self, owner: type, method: str) -> None:
        try:
            with mock.patch.object(owner, method, side_effect=Killed):
                self.acknowledge()
        except Killed:
            pass
        self.kill()

    def start(self) -> None:
        if self.up:
            self.driver.close()
            self.kill()
        self.driver.start()
        self.up = True

    def finish(self) -> None:
        if not self.up:
            self.start()
        self.rewind()
        self.driver.sync()
        self.driver.sync()


def run(steps: str, options: dict[str, object]) -> tuple[list[bytes], list[bytes]]:
    """What is stored after these steps, and what was dropped."""
    root = Path(tempfile.mkdtemp(prefix="spool-interleavings-"))
    story = Story(root, options)
    try:
        for letter in "o" + steps:
            story.step(letter)
        story.finish()
        left = [name for name in story.driver.names() if name.endswith((".log", ".FAILED"))]
        assert not left or "tracking" in options, f"{left} was not completed"
        assert not story.driver.counts, story.driver.counts
        return story.driver.bodies(), story.lines
    finally:
        story.driver.close()
        shutil.rmtree(root)


WORDS = ["drsm", "drsM", "drsa", "ddrsmo", "DrSx", "DrSwrs", "drsxoa", "drsMoa", "drslao", "ddlrrsmod"]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("steps", WORDS)
def test_event_is_stored_once_and_in_order(steps, options):
    stored, dropped = run(steps, options)
    assert stored == dropped


@given(steps=st.text(STEPS, max_size=14), options=st.sampled_from(OPTIONS))
def test_event_is_stored_once_and_in_order_whatever_the_steps(steps, options):
    stored, dropped = run(steps, options)
    assert stored == dropped


def test_state_that_can_not_be_saved_keeps_files_where_they_are(tmp_path):
    driver = SpoolDriver(tmp_path)
    driver.start()
    driver.drop("a.log", b"1\n")
    full = mock.patch.object(state, "save", side_effect=OSError(28, "No space left on device"))
    with full, mock.patch("agent.spooling.spool._SAVE_RETRY_S", 0.0):
        assert driver.read() == []
    driver.sync()
    assert driver.bodies() == [b"1"]
    assert driver.names() == ["a.log.COMPLETED"]
    driver.close()
