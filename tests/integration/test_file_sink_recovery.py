"""The file sink through crashes: what is stored is what was committed, in every format, whenever it dies."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.files import disk
from collector.files import token as tokens
from qanat.errors import ConfigError
from tests.integration.file_driver import EVERY_FORMAT, Driver, columns, lines

HOSTS = ("a", "b")
BODY = st.binary(max_size=12)
EVENTS = st.lists(st.tuples(st.sampled_from(HOSTS), BODY), min_size=1, max_size=8)
ACTION = st.one_of(
    st.tuples(st.just("lines"), EVENTS),
    st.tuples(st.just("columns"), EVENTS),
    st.tuples(st.just("commit"), st.booleans()),
    st.tuples(st.just("prepare"), st.booleans()),  # and then die before the commit record is written
    st.tuples(st.just("later"), st.sampled_from([1.0, 40.0])),
    st.tuples(st.just("crash"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("crash in publish"), st.integers(1, 16)),
    st.tuples(st.just("discard"), st.none()),
)


class Killed(BaseException):
    """The process died here."""


@contextlib.contextmanager
def killed_at(step: int) -> Iterator[None]:
    """Die at the n-th beginning or end of a group of file operations."""
    left = step
    original = disk.explained

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    @contextlib.contextmanager
    def explained(doing: str, path: object) -> Iterator[None]:
        count()
        with original(doing, path):
            yield
        count()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "explained", explained)
        with contextlib.suppress(Killed):
            yield


class Model:
    """The sink, and what it should have stored."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.driver = Driver(root, **options).open()
        self.can_hold_line_ends = options["format"] != "raw"
        self.committed: dict[str, list[bytes]] = {}
        self.appended: list[tuple[str, bytes]] = []
        self.position = 0

    def run(self, action: tuple[str, Any]) -> None:
        kind, argument = action
        getattr(self, "do_" + kind.replace(" ", "_"))(argument)

    def do_lines(self, events: list[tuple[str, bytes]]) -> None:
        for host, body in events:
            body = body.replace(b"\n", b"\r")
            self.driver.sink.append(lines(host, [body], self.position))
            self._appended([(host, body)])

    def do_columns(self, events: list[tuple[str, bytes]]) -> None:
        if not self.can_hold_line_ends:
            events = [(host, body.replace(b"\n", b"\r")) for host, body in events]
        hosts, bodies = [host for host, _ in events], [body for _, body in events]
        self.driver.sink.append(columns(hosts, bodies, self.position))
        self._appended(events)

    def _appended(self, events: list[tuple[str, bytes]]) -> None:
        self.appended += events
        self.position += len(events)

    def do_commit(self, publish: bool) -> None:
        self.driver.commit(publish=publish)
        for host, body in self.appended:
            self.committed.setdefault(host, []).append(body)
        self.appended = []

    def do_prepare(self, synced: bool) -> None:
        prepared = self.driver.sink.prepare()
        if synced:
            prepared.sync()
        self.do_crash(7)

    def do_later(self, seconds: float) -> None:
        self.driver.clock.advance(seconds)

    def do_crash(self, seed: int) -> None:
        self.driver.sink.close()
        self._tear(seed)
        self.driver.restart()
        self.appended = []

    def do_crash_in_publish(self, step: int) -> None:
        self.driver.sink.drain()
        self.do_commit(publish=False)
        assert self.driver.token is not None
        with killed_at(step):
            self.driver.sink.publish(self.driver.token)
        self.driver.sink.close()
        for again in range(1, step):  # and dies again while it recovers
            with killed_at(again):
                self.driver.restart()
        self.driver.restart()

    def do_discard(self, _: None) -> None:
        self.driver.sink.discard(self.driver.token)
        self.appended = []

    def _tear(self, seed: int) -> None:
        """What a crash does to bytes that were never synced: some are missing, some are garbage."""
        work = self.driver.work
        token = tokens.decode(self.driver.token) if self.driver.token else tokens.empty("")
        lengths = {f".{file.name}.tmp": file.length_bytes for file in (*token.open, *token.finished)}
        for path in sorted(work.glob(".*.tmp")):
            committed, size = lengths.get(path.name, 0), path.stat().st_size
            with path.open("r+b") as file:
                file.truncate(committed + seed % (size - committed + 1))
                if seed % 3:
                    file.seek(0, 2)
                    file.write(b"\xff\n\x00" * (seed % 50))
        (work / ".p-coll@node-20231114T221320.000Z-99999999.log.tmp").write_bytes(b"never committed\n")

    def check(self) -> None:
        self.driver.sink.drain()
        self.do_commit(publish=True)
        assert self.driver.stored() == self.committed
        left = [path.name for path in self.driver.work.glob(".*")]
        assert left == []
        self.driver.sink.close()


@pytest.mark.parametrize(("format", "compression"), EVERY_FORMAT)
@settings(max_examples=max(8, settings.default.max_examples // 10))
@given(actions=st.lists(ACTION, max_size=14))
def test_stored_is_what_was_committed_whatever_happens(format, compression, actions):
    with tempfile.TemporaryDirectory() as directory:
        model = Model(Path(directory) / "root", format=format, compression=compression, open_files_max=3)
        try:
            for action in actions:
                model.run(action)
            model.check()
        finally:
            model.driver.sink.close()


@settings(max_examples=max(100, settings.default.max_examples))
@given(actions=st.lists(ACTION, max_size=25), roll_events=st.sampled_from([0, 1, 5]), cap=st.integers(1, 3))
def test_stored_is_what_was_committed_under_tight_limits(actions, roll_events, cap):
    with tempfile.TemporaryDirectory() as directory:
        options = {"format": "raw", "roll_events": roll_events, "open_files_max": cap}
        model = Model(Path(directory) / "root", **options)
        try:
            for action in actions:
                model.run(action)
            model.check()
        finally:
            model.driver.sink.close()


@pytest.mark.parametrize("format", ["raw", "parquet"])
def test_directory_may_change_once_everything_in_the_old_one_is_published(
    tmp_path: Path, format: str
) -> None:
    old = Driver(tmp_path / "old", format=format).open()
    old.sink.append(lines("a", [b"1"]))
    old.commit()
    new = Driver(tmp_path / "new", format=format)
    new.token = old.token
    with pytest.raises(
        ConfigError, match=r"old are not finished.*new\. Start it with the old directory once more"
    ):
        new.open()
    new.sink.close()
    old.sink.drain()
    old.commit(publish=False)
    new.token = old.token
    with pytest.raises(ConfigError, match="not finished"):
        new.open()
    new.sink.close()
    old.finish()
    new.token = old.token
    new.open()
    new.sink.append(lines("a", [b"2"]))
    new.sink.discard(new.token)
    new.sink.append(lines("a", [b"2"]))
    new.commit()
    new.restart()
    new.finish()
    assert (old.stored(), new.stored()) == ({"a": [b"1"]}, {"a": [b"2"]})
