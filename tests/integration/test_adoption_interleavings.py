"""A collector paused at any system call, adopted meanwhile, and awake again: every committed event is visible once."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from qanat.component import LeftBehind
from qanat.errors import FencedError, RetryableError
from tests.integration.file_driver import Driver, bodies, lines
from tests.integration.pausing import Paused, killed_before

STEPS_MAX = 400  # of one operation; the longest has some sixty
OPERATIONS = ("append", "prepare", "publish", "discard")
FORMATS = ("raw", "parquet")


@pytest.fixture(autouse=True)
def _nothing_is_synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes die here, hosts don't; thousands of syncs would only take long."""
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda fd: None)


class Story:
    """The owner, its adopter, and a reader who takes published files away when told to."""

    def __init__(self, root: Path, format: str) -> None:
        self.owner = Driver(root, format=format).open()
        self.adopter = Driver(root, format=format)
        self.read: list[bytes] = []
        # Committed: 1 in a finished file that is not published, 2 and 3 in open ones.
        self._append("a", b"1")
        self.owner.sink.drain()
        self.owner.commit(publish=False)
        self._append("a", b"2")
        self._append("b", b"3")
        self.owner.commit(publish=False)
        self._append("a", b"never committed")

    def _append(self, host: str, body: bytes) -> None:
        self.owner.sink.append(lines(host, [body]))

    def operation(self, name: str) -> Callable[[], object]:
        sink, token = self.owner.sink, self.owner.token
        assert token is not None

        def append() -> None:
            self._append("a", b"never committed")
            self._append("new", b"never committed")

        return {
            "append": append,
            "prepare": lambda: sink.prepare().sync(),
            "publish": lambda: sink.publish(token),
            "discard": lambda: sink.discard(token),
        }[name]

    def adopt(self) -> None:
        """As the receiver core does it: recovery, publication, a last commit that finishes everything."""
        token = self.adopter.token = self.owner.token
        assert token is not None
        self.adopter.sink.claim(by_force=True)
        self.adopter.sink.open(token)
        self.adopter.sink.publish(token)
        self.adopter.finish()

    def take_away(self) -> None:
        for path in self.adopter.final_files():
            self.read += bodies(path)
            path.unlink()

    def return_to(self, sink: Driver) -> None:
        """The owner finds its fence moved, adopts what is committed now, and goes on."""
        with pytest.raises(FencedError):
            self.owner.sink.discard(self.owner.token)
        self.owner.sink.claim()
        self.owner.token = sink.token
        self.owner.open()
        assert self.owner.token is not None
        self.owner.sink.publish(self.owner.token)
        self._append("a", b"4")
        self.owner.finish()

    def assert_exactly_once(self, *expected: bytes) -> None:
        self.take_away()
        assert sorted(self.read) == sorted(expected)
        assert list(self.owner.work.glob(".*")) == []

    def kill(self, driver: Driver) -> None:
        """What is left of a process after SIGKILL: its locks are free, and still named."""
        fd = driver.sink._layout.tenancy._lock_fd
        if fd is not None:
            os.close(fd)
        driver.sink._layout.tenancy._lock_fd = None


@pytest.mark.parametrize("in_flight", [False, True], ids=["before", "within"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_owner_paused_at_any_call_doubles_and_loses_nothing_when_it_wakes_after_its_adoption(
    tmp_path: Path, operation: str, format: str, in_flight: bool
) -> None:
    for step in range(1, STEPS_MAX):
        for reader in ("while paused", "after adoption") if operation == "publish" else ("never",):
            story = Story(tmp_path / f"{step} {reader}", format)
            paused = Paused(story.operation(operation), step, story.owner.root, in_flight=in_flight)
            if reader == "while paused":
                story.take_away()
            story.adopt()
            if reader == "after adoption":
                story.take_away()
            paused.finish()
            assert isinstance(paused.error, RetryableError | FencedError | None), (step, paused.error)
            if reader == "while paused":
                story.take_away()
            story.return_to(story.adopter)
            story.assert_exactly_once(b"1", b"2", b"3", b"4")
        if not paused.reached:
            return
    raise AssertionError(f"{operation} takes more than {STEPS_MAX} calls")


@pytest.mark.parametrize("format", FORMATS)
def test_owner_that_runs_on_while_it_is_adopted_doubles_and_loses_nothing(
    tmp_path: Path, format: str
) -> None:
    """The other way round: the adopter is paused at any call, and the owner publishes to the end meanwhile."""
    for step in range(1, STEPS_MAX):
        story = Story(tmp_path / str(step), format)
        paused = Paused(story.adopt, step, story.owner.root, in_flight=False)
        _suppressed(story.operation("publish"))
        story.take_away()
        paused.finish()
        assert paused.error is None, (step, paused.error)
        story.return_to(story.adopter)
        story.assert_exactly_once(b"1", b"2", b"3", b"4")
        if not paused.reached:
            return
    raise AssertionError(f"adoption takes more than {STEPS_MAX} calls")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("successor", ["the owner restarted", "another adopter"])
def test_adopter_killed_at_any_call_leaves_what_its_successor_can_go_on_from(
    tmp_path: Path, successor: str, format: str
) -> None:
    for step in range(1, STEPS_MAX):
        story = Story(tmp_path / str(step), format)
        token = story.owner.token
        assert token is not None
        dead = story.adopter
        dead.token = token
        with killed_before(step) as died:
            dead.sink.claim(by_force=True)
            dead.sink.open(token)
            dead.sink.publish(token)
        story.kill(dead)
        story.adopter = Driver(story.owner.root, format=format)
        if successor == "another adopter":
            story.adopt()
        else:
            if not _owner_has_lock(story):
                story.adopter.token = token
                story.adopter.open()
                story.adopter.sink.publish(token)
                # Paused all the time; now it appends to what it has open, before it hears of its fence.
                with_error = story.operation("append")
                _suppressed(with_error)
                story.adopter.finish()
            else:
                story.owner.sink.close()
                story.adopter.token = token
                story.adopter.open()
                story.adopter.sink.publish(token)
                story.adopter.finish()
        story.owner.token = story.adopter.token
        story.take_away()
        assert sorted(story.read) == [b"1", b"2", b"3"], step
        story.owner.sink.close()
        dead.sink.close()
        if not died():
            return
    raise AssertionError(f"adoption takes more than {STEPS_MAX} calls")


def _owner_has_lock(story: Story) -> bool:
    return not story.owner.sink._layout.tenancy.is_lost()


def _suppressed(work: Callable[[], object]) -> None:
    try:
        work()
    except RetryableError:
        return


def test_owner_waits_until_the_adopter_is_done(tmp_path: Path) -> None:
    story = Story(tmp_path / "root", "raw")
    token = story.owner.token
    assert token is not None
    story.adopter.token = token
    story.adopter.sink.claim(by_force=True)
    story.adopter.sink.open(token)
    with pytest.raises(FencedError, match="another collector has adopted this sink"):
        story.owner.sink.discard(token)
    with pytest.raises(RetryableError, match="locked"):
        story.owner.sink.claim()
    story.adopter.finish()
    story.return_to(story.adopter)
    story.assert_exactly_once(b"1", b"2", b"3", b"4")


def test_what_can_be_adopted_is_unfinished_and_in_this_storage(tmp_path: Path) -> None:
    story = Story(tmp_path / "root", "raw")
    token = story.owner.token
    assert token is not None
    assert Driver(tmp_path / "other").sink.left_behind(token) is None
    assert story.adopter.sink.left_behind(token) == LeftBehind(files=3, events=3)
    story.adopt()
    assert story.adopter.token is not None
    assert Driver(story.owner.root).sink.left_behind(story.adopter.token) is None
    story.owner.sink.close()


def test_first_lives_of_a_sink_that_begin_at_the_same_time_make_one_directory(tmp_path: Path) -> None:
    for step in itertools.count(1):
        one, other = (Driver(tmp_path / str(step)) for _ in range(2))
        paused = Paused(one.open, step, one.root, in_flight=False)
        _suppressed(other.open)
        paused.finish()
        assert paused.error is None or isinstance(paused.error, RetryableError)
        is_open = [not driver.sink._layout.tenancy.is_lost() for driver in (one, other)]
        assert is_open.count(True) == 1, (step, is_open)
        for driver in (one, other):
            driver.sink.close()
        assert one.work.exists()
        if not paused.reached:
            return
