"""Events of several lines: over blocks, rotations, rewinds and kills; nothing lost, doubled, or in another order."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.joining.config import Multiline
from qanat.batch import Batch
from qanat.columns import TIMESTAMP
from tests.integration.tail_driver import Driver
from tests.integration.test_tail_interleavings import PATTERNS, STEPS, UNORDERED, Story

START = Multiline(start=r"^\d")


class Joined(Driver):
    """Keeps events instead of lines."""

    def __init__(self, root: Path, *paths: str, **options: Any) -> None:
        super().__init__(
            root, *paths, **{"multiline": START, "watch": "poll", "poll_interval": 1e-9, **options}
        )
        self.events: list[bytes] = []
        self.rows: list[dict[str, Any]] = []

    def commit(self, batches: list[Batch], *, acknowledge: bool = True) -> None:
        for batch in batches:
            position = self.committed.get(batch.stream)
            assert position is None or batch.start == position, "a batch must continue what is stored"
            self.committed[batch.stream] = batch.end
            self.arrivals.append(batch)
            if isinstance(batch.payload, bytes):
                self.events += batch.payload.splitlines()
                continue
            positions = batch.payload.column("position").to_pylist()
            assert positions == sorted(set(positions))
            assert all(batch.start <= each < batch.end for each in positions)
            self.events += batch.payload.column("body").to_pylist()
            names = [name for name in batch.payload.schema.names if name != TIMESTAMP]
            self.rows += batch.payload.select(names).to_pylist()
        if acknowledge:
            self.tail.acknowledge({batch.stream: self.committed[batch.stream] for batch in batches})

    def lines(self) -> list[bytes]:
        """All events as the lines that they were made of."""
        return [line + b"\n" for event in self.events for line in event.split(b"\n")]

    def wait(self, seconds: float = 5.1) -> None:
        self.clock.advance(seconds)
        self.sync()


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def append(driver: Joined, data: bytes) -> None:
    write(driver.logs / "app.log", data)
    driver.sync()


@pytest.fixture
def driver(tmp_path):
    driver = Joined(tmp_path, "app.log")
    driver.start()
    yield driver
    driver.close()


def test_event_ends_where_the_next_one_begins(driver):
    write(driver.logs / "app.log", b"1 a\n b\n c\n2 d\n3 e\n")
    driver.sync()
    assert driver.events == [b"1 a\n b\n c", b"2 d"]


def test_last_event_waits_for_more_then_for_the_timeout(driver):
    append(driver, b"1 a\n")
    driver.wait(3)
    append(driver, b" b\n")
    driver.wait(3)
    assert driver.events == []
    driver.wait(3)
    assert driver.events == [b"1 a\n b"]
    append(driver, b" late\n2 c\n")
    driver.wait()
    assert driver.events == [b"1 a\n b", b" late", b"2 c"]


def test_half_a_line_waits_for_its_end(driver):
    append(driver, b"1 a\n b")
    driver.wait()
    assert driver.events == [b"1 a"]
    append(driver, b"c\n")
    driver.wait()
    assert driver.events == [b"1 a", b" bc"]


def test_unacked_event_is_joined_again_after_a_kill(driver):
    log = driver.logs / "app.log"
    write(log, b"1 a\n b\n2 c\n")
    driver.read()
    driver.crash()
    write(log, b" d\n")
    driver.start()
    driver.sync()
    driver.wait()
    assert driver.events == [b"1 a\n b", b"2 c\n d"]


@pytest.mark.parametrize("pattern", ["app.log", "app.log*"])
def test_event_goes_on_in_the_next_file(tmp_path, pattern):
    driver = Joined(tmp_path, pattern)
    driver.start()
    log = driver.logs / "app.log"
    write(log, b"0 x\n1 a\n b\n")
    driver.sync()
    log.rename(driver.logs / "app.log.1")
    write(log, b" c\n d\n2 e\n")
    driver.settle()
    assert driver.events == [b"0 x", b"1 a\n b\n c\n d", b"2 e"]
    driver.close()


def test_event_that_ends_with_its_file_is_not_joined_to_the_next(driver):
    log = driver.logs / "app.log"
    write(log, b"1 a\n b\n")
    driver.sync()
    log.rename(driver.logs / "app.log.1")
    write(log, b"2 e\n")
    driver.settle()
    assert driver.events == [b"1 a\n b", b"2 e"]


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
@pytest.mark.parametrize("saved", [True, False, None])
def test_event_over_two_files_is_joined_once_whenever_the_agent_is_killed(driver, batches, saved):
    log = driver.logs / "app.log"
    write(log, b"0 x\n1 a\n b\n")
    driver.sync()
    driver.tail.save()
    log.rename(driver.logs / "app.log.1")
    write(log, b" c\n2 d\n")
    for _round in range(100):
        driver.poll()
        driver.clock.advance(0.2)
        got = driver.read(batches=1)
        driver.commit(got[:batches], acknowledge=False)
        batches -= len(got[:batches])
        if batches <= 0 and _round > 20:
            break
    if saved:
        driver.tail.save()
    driver.crash()
    if saved is None:
        (driver.state_dir / "tail.state").unlink()
    driver.start()
    driver.settle()
    driver.wait()
    assert driver.events == [b"0 x", b"1 a\n b\n c", b"2 d"]


def test_event_beyond_its_limits_goes_on_as_another(tmp_path):
    driver = Joined(tmp_path, "app.log", multiline=Multiline(start=r"^\d", max_lines=2))
    driver.start()
    write(driver.logs / "app.log", b"1\n a\n b\n c\n2\n3\n")
    driver.sync()
    assert driver.events == [b"1\n a", b" b\n c", b"2"]
    assert driver.counts["events_split"] == 1
    driver.close()


def test_event_longer_than_any_block_is_cut_at_a_line(tmp_path):
    driver = Joined(tmp_path, "app.log", event_bytes=1000)
    driver.start()
    lines = [b"1 begin", *(b" %05d " % n + b"x" * 90 for n in range(500))]
    write(driver.logs / "app.log", b"\n".join(lines) + b"\n2 next\n")
    driver.sync()
    driver.wait()
    assert b"\n".join(driver.events).split(b"\n") == [*lines, b"2 next"]
    assert all(len(event) <= 3000 for event in driver.events)
    driver.close()


def test_line_that_is_too_long_is_split_between_events(tmp_path):
    driver = Joined(tmp_path, "app.log", event_bytes=100)
    driver.start()
    long = b"2 " + b"x" * 400
    write(driver.logs / "app.log", b"1 a\n b\n" + long + b"\n3 c\n d\n4\n")
    driver.sync()
    driver.wait()
    assert driver.events[0] == b"1 a\n b"
    assert b"".join(driver.events[1:-2]) == long
    assert driver.events[-2:] == [b"3 c\n d", b"4"]
    driver.close()


TIME = b"2016-10-06T00:17:09.669794202Z"


def cri(output: bytes, tag: bytes, content: bytes) -> bytes:
    return b"%b %b %b %b\n" % (TIME, output, tag, content)


def test_cri_parts_are_joined_within_their_output(tmp_path):
    driver = Joined(tmp_path, "app.log", multiline=None, format="cri")
    driver.start()
    log = driver.logs / "app.log"
    write(log, cri(b"stdout", b"P", b"ab") + cri(b"stderr", b"F", b"x") + cri(b"stdout", b"P", b"cd"))
    driver.sync()
    assert driver.events == []  # nothing can be given out before what begins before it
    write(log, cri(b"stdout", b"F", b"ef") + b"no line of it\n" + cri(b"stderr", b"F", b""))
    driver.sync()
    assert driver.events == [b"abcdef", b"x", b"no line of it", b""]
    assert [row["iostream"] for row in driver.rows] == ["stdout", "stderr", None, "stderr"]
    driver.close()


def test_cri_part_goes_on_in_the_next_file(tmp_path):
    driver = Joined(tmp_path, "app.log", multiline=None, format="cri")
    driver.start()
    log = driver.logs / "app.log"
    write(log, cri(b"stdout", b"F", b"1") + cri(b"stdout", b"P", b"ab"))
    driver.sync()
    log.rename(driver.logs / "app.log.1")
    write(log, cri(b"stderr", b"F", b"x") + cri(b"stdout", b"F", b"cd") + cri(b"stdout", b"F", b"2"))
    driver.settle()
    assert driver.events == [b"1", b"x", b"abcd", b"2"]
    driver.close()


def test_cri_part_goes_on_when_kubernetes_rotates_what_a_link_points_to(tmp_path):
    driver = Joined(tmp_path, "*.log", multiline=None, format="cri")
    pod = tmp_path / "pod"
    pod.mkdir()
    (driver.logs / "app.log").symlink_to(pod / "0.log")
    driver.start()
    write(pod / "0.log", cri(b"stdout", b"F", b"1") + cri(b"stdout", b"P", b"ab"))
    driver.sync()
    (pod / "0.log").rename(pod / "0.log.20260101-000000")
    write(pod / "0.log", cri(b"stdout", b"F", b"cd") + cri(b"stdout", b"F", b"2"))
    driver.settle()
    assert driver.events == [b"1", b"abcd", b"2"]
    driver.close()


@pytest.mark.parametrize("killed", [False, True])
def test_event_goes_on_in_the_truncated_file_behind_its_copy(driver, killed):
    log = driver.logs / "app.log"
    write(log, b"0 x\n1 a\n b\n")
    driver.sync()
    driver.tail.save()
    (driver.logs / "app.log.1").write_bytes(log.read_bytes())
    log.write_bytes(b"")
    write(log, b" c\n2 d\n")
    if killed:
        driver.crash()
        driver.start()
    driver.settle()
    driver.wait()
    assert driver.events == [b"0 x", b"1 a\n b\n c", b"2 d"]


def test_docker_parts_are_joined_and_stack_traces_too(tmp_path):
    driver = Joined(tmp_path, "app.log", format="docker")
    driver.start()
    line = b'{"log":"%b","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}\n'
    write(
        driver.logs / "app.log", b"".join(line % text for text in (b"1 a", b"bc\\n", b" at x\\n", b"2 d\\n"))
    )
    driver.sync()
    assert driver.events == [b"1 abc\n at x"]
    driver.wait()
    assert driver.events == [b"1 abc\n at x", b"2 d"]
    driver.close()


class JoinedStory(Story):
    """Every other line belongs to the event before."""

    def __init__(self, root: Path, pattern: str) -> None:
        super().__init__(root, pattern)
        self.joined = Joined(root, pattern, multiline=Multiline(start=r"^\d*[02468] "))
        self.driver = self.joined

    def is_stored(self) -> bool:
        if self.up:
            self.joined.sync()
            self.joined.wait()
        return self.up and sorted(self.joined.lines()) == sorted(self.lines)


@given(steps=st.text(STEPS, max_size=12), pattern=st.sampled_from(PATTERNS))
def test_lines_of_events_are_read_once_and_in_order_whatever_the_steps(steps: str, pattern: str) -> None:
    root = Path(tempfile.mkdtemp(prefix="tail-joined-"))
    story = JoinedStory(root, pattern)
    try:
        for letter in "ows" + steps:
            story.step(letter)
        story.finish()
        story.joined.wait()
        stored = story.joined.lines()
        if set(steps) & set(UNORDERED):
            assert sorted(stored) == sorted(story.lines)
        else:
            assert stored == story.lines
    finally:
        story.driver.close()
        shutil.rmtree(root)
