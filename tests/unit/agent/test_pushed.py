"""The feed of a channel from a live source: what peers are told, and that nothing received is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from agent import pushed as module
from agent import refusals
from agent.pushed import STREAM_PREFIX, PushedFeed
from qanat import columns
from qanat.component import Context, Cursor, Events, Inlet, LiveSource, Parcel
from qanat.errors import ConfigError, RetryableError
from qanat.inlet import BoundedInlet, events, joined, within_limits
from qanat.limits import MIB
from qanat.metrics import Metrics
from tests.unit.agent.live import until
from tests.unit.agent.scripted import Shelf, context


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "RETRY_S_MAX", 0.01)


class Pushed(LiveSource):
    """A test pushes through `say`; `last` is what it had received when it was stopped."""

    name = "pushed"
    Config = msgspec.Struct

    def __init__(self, context: Context) -> None:
        super().__init__(None, context)
        self.inlet: Inlet | None = None
        self.answers: list[tuple[bytes, bool]] = []
        self.last: list[bytes] = []
        self.log: list[str] = []

    def open(self) -> None:
        self.log.append("open")

    def start(self, inlet: Inlet) -> None:
        self.log.append("start")
        self.inlet = inlet

    def stop(self) -> None:
        self.log.append("stop")
        for each in self.last:
            assert self.say(each)

    def close(self) -> None:
        self.log.append("close")

    def say(self, content: bytes) -> bool:
        assert self.inlet is not None
        return self.inlet.offer(
            Parcel(content, len(content), lambda safe: self.answers.append((content, safe)))
        )


def feed(source: LiveSource, shelf: Shelf) -> PushedFeed:
    return PushedFeed(source, shelf, [Cursor("web")], source.context, Metrics().agent("web"))


@contextlib.contextmanager
def running(source: Pushed, shelf: Shelf) -> Iterator[PushedFeed]:
    made = feed(source, shelf)
    assert made.open()
    thread = threading.Thread(target=made.run)
    thread.start()
    until(lambda: source.inlet)
    try:
        yield made
    finally:
        made.stop()
        thread.join()
        made.close()


def bodies(shelf: Shelf) -> bytes:
    return b"".join(bytes(each.payload) for each in shelf.batches)


def test_feed_puts_what_is_pushed_in_order_and_then_tells_the_peers(tmp_path: Path) -> None:
    source, shelf = Pushed(context(tmp_path)), Shelf(context(tmp_path))
    said = [b"a%d\n" % number for number in range(100)]
    with running(source, shelf):
        assert all(source.say(each) for each in said)
        until(lambda: len(source.answers) == 100)
    assert bodies(shelf) == b"".join(said)
    assert source.answers == [(each, True) for each in said]
    assert source.log == ["open", "start", "stop", "close"]
    (stream,) = shelf.known
    assert (stream.startswith(STREAM_PREFIX), shelf.known[stream]) == (True, 100)


def test_feed_receives_nothing_before_it_runs(tmp_path: Path) -> None:
    source, shelf = Pushed(context(tmp_path)), Shelf(context(tmp_path))
    made = feed(source, shelf)
    assert made.open()
    made.stop()
    made.close()
    assert source.log == ["open", "close"]


def test_feed_forgets_the_streams_of_earlier_processes_and_no_others(tmp_path: Path) -> None:
    source = Pushed(context(tmp_path))
    shelf = Shelf(context(tmp_path), {f"{STREAM_PREFIX}old": 7, "a file": 3})
    with running(source, shelf):
        pass
    assert shelf.log[0] == ("forget", [f"{STREAM_PREFIX}old"])
    assert shelf.known == {"a file": 3}


def test_peer_is_not_told_before_the_channel_has_it_safe(tmp_path: Path) -> None:
    source, shelf = Pushed(context(tmp_path)), Shelf(context(tmp_path))
    accepted, is_safe = shelf.accepted, threading.Event()
    shelf.accepted = lambda: accepted() if is_safe.is_set() else {}  # type: ignore[method-assign]
    with running(source, shelf):
        source.say(b"x\n")
        until(lambda: shelf.batches)
        assert source.answers == []
        is_safe.set()
        until(lambda: source.answers)
    assert source.answers == [(b"x\n", True)]


def test_feed_offers_again_what_was_refused(tmp_path: Path) -> None:
    counts: list[str] = []
    where = context(tmp_path, lambda name, n: counts.append(name))
    source, shelf = Pushed(where), Shelf(where)
    shelf.answers.extend([False, RetryableError("disk full"), RetryableError("disk full"), False])
    with running(source, shelf):
        source.say(b"x\n")
        until(lambda: source.answers)
    assert (bodies(shelf), shelf.waits, counts) == (b"x\n", 2, ["channel_failures"] * 2)


def test_stopping_feed_puts_what_the_source_had_received(tmp_path: Path) -> None:
    source, shelf = Pushed(context(tmp_path)), Shelf(context(tmp_path))
    source.last = [b"last\n"] * 20_000  # more than the inlet takes while it runs
    with running(source, shelf):
        source.say(b"first\n")
    assert bodies(shelf) == b"first\n" + b"last\n" * 20_000
    assert [safe for _, safe in source.answers] == [True] * 20_001


def test_stopping_feed_refuses_what_the_channel_does_not_take_and_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_S_MAX", 0.3)
    counts: dict[str, int] = {}
    where = context(tmp_path, lambda name, n: counts.update({name: counts.get(name, 0) + n}))
    source, shelf = Pushed(where), Shelf(where)
    shelf.answers.extend([True] + [False] * 10_000_000)
    source.last = [b"c\nd\n"]
    with running(source, shelf):
        source.say(b"a\n")
        until(lambda: source.answers)
        source.say(b"b\n")
        until(lambda: shelf.waits)
    assert source.answers == [(b"a\n", True), (b"b\n", False), (b"c\nd\n", False)]
    assert counts == {module.UNACCEPTED: 3}


def test_feed_waits_for_a_channel_that_is_not_there_yet(tmp_path: Path) -> None:
    source, shelf = Pushed(context(tmp_path)), Shelf(context(tmp_path))
    shelf.open_failures = 2
    with running(source, shelf):
        source.say(b"x\n")
        until(lambda: source.answers)
    assert source.log[:2] == ["open", "start"]


def test_feed_ends_with_what_the_source_failed_with(tmp_path: Path) -> None:
    source, shelf = Pushed(context(tmp_path)), Shelf(context(tmp_path))
    made = feed(source, shelf)
    made.open()
    source.start = lambda inlet: (inlet.offer(Parcel(b"x\n", 2)), inlet.fail(OSError("gone")))  # type: ignore
    with pytest.raises(OSError, match="gone"):
        made.run()
    made.close()
    assert bodies(shelf) == b"x\n"


def test_feed_that_could_not_open_closes_both(tmp_path: Path) -> None:
    source, shelf = Pushed(context(tmp_path)), Shelf(context(tmp_path))
    source.open = _refuse  # type: ignore[method-assign]
    made = feed(source, shelf)
    with pytest.raises(ConfigError):
        made.open()
    made.close()
    assert (source.log, shelf.log) == (["close"], [("close", None)])


def _refuse() -> None:
    raise ConfigError("port taken")


def test_inlet_refuses_when_full_and_calls_when_half_empty() -> None:
    inlet, calls = BoundedInlet(10_000), []
    taken = 0
    while inlet.offer(Parcel(b"x" * 1000, 1000)):
        taken += 1
    assert taken == 6
    assert not inlet.put(Parcel(b"x" * 1000, 1000), 0.01)
    inlet.when_room(lambda: calls.append("room"))
    inlet.take(1000, 0.0)
    assert calls == []
    inlet.take(3000, 0.0)
    assert calls == ["room"]


def test_inlet_takes_the_largest_parcel_when_nothing_waits() -> None:
    inlet = BoundedInlet(10)
    assert inlet.offer(Parcel(b"x" * 1000, 1000))
    assert not inlet.offer(Parcel(b"", 0))
    assert [each.size_bytes for each in inlet.take(1, 0.0)] == [1000]


def test_joined_keeps_order_and_attributes_apart() -> None:
    own = Events(b"c\n", 1, {"host": "other"})
    made = joined([b"a\n", b"b\n", own, b"d\n"], {"host": "h"})
    assert [(each.payload, each.count, each.attributes["host"]) for each in made] == [
        (b"a\nb\n", 2, "h"), (b"c\n", 1, "other"), (b"d\n", 1, "h"),
    ]  # fmt: skip


def test_columns_larger_than_a_batch_come_in_parts() -> None:
    import pyarrow as pa

    rows = pa.record_batch({columns.BODY: pa.array([b"x" * MIB] * 9 + [b""], pa.binary())})
    parts = list(within_limits(events(rows, {})))
    assert sum(each.count for each in parts) == 10
    assert all(each.payload.nbytes <= 2 * MIB + 100 for each in parts)
    assert columns.stacked([each.payload for each in parts]).column(0).equals(rows.column(0))


def test_feed_numbers_columns_on(tmp_path: Path) -> None:
    import pyarrow as pa

    class Columns(Pushed):
        def form(self, parcels: Sequence[Parcel]) -> Sequence[Events]:
            rows = pa.array([parcel.content for parcel in parcels], pa.binary())
            return [events(pa.record_batch({columns.BODY: rows}), {})]

    source, shelf = Columns(context(tmp_path)), Shelf(context(tmp_path))
    with running(source, shelf):
        for number in range(50):
            source.say(b"%d" % number)
        until(lambda: len(source.answers) == 50)
    rows = [row for each in shelf.batches for row in each.payload.to_pylist()]  # type: ignore[union-attr]
    assert rows == [{"body": b"%d" % number, "position": number} for number in range(50)]
