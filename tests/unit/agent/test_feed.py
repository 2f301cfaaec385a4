"""The feed of a channel: in what order source and channel are told, and that nothing read is lost."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import feed as module
from agent import refusals
from agent.feed import Feed
from qanat.component import Cursor
from qanat.errors import RetryableError
from qanat.metrics import Metrics
from tests.unit.agent.live import until
from tests.unit.agent.scripted import Shelf, Streams, context


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEWS_S", 0.0)
    monkeypatch.setattr(refusals, "RETRY_S_MAX", 0.01)
    monkeypatch.setattr(module, "POLL_S", 0.01)


@contextlib.contextmanager
def running(source: Streams, shelf: Shelf) -> Iterator[Feed]:
    made = Feed(source, shelf, [Cursor("web")], source.context, Metrics().agent("web"))
    assert made.open()
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join()
        made.close()


def test_feed_moves_everything_and_lets_both_forget_in_order(tmp_path: Path) -> None:
    source, shelf = Streams(context(tmp_path), {"a": 3, "b": 0}), Shelf(context(tmp_path))
    with running(source, shelf):
        until(lambda: len([entry for entry in shelf.log if entry[0] == "forget"]) == 2)
    assert [(each.start, each.end) for each in shelf.batches] == [(0, 1), (1, 2), (2, 3)]
    assert source.acked == {"a": 12, "b": 0}
    saved = [what for what, _ in source.log].index("save")
    assert ("acknowledge", {"b": 0}) in source.log[:saved]
    assert [what for what, _ in source.log][-1] == "close"
    assert shelf.log[-1] == ("close", None)


def test_feed_goes_on_where_the_channel_is_and_tells_the_source(tmp_path: Path) -> None:
    source = Streams(context(tmp_path), {"a": 3}, follow=True)
    shelf = Shelf(context(tmp_path), {"a": 8, "gone": 5})
    with running(source, shelf):
        until(lambda: source.acked.get("a") == 12)
    assert source.log[:3] == [
        ("recover", {"a": 8, "gone": 5}),
        ("acknowledge", {"a": 8}),
        ("seek", ("a", 8)),
    ]
    assert len(shelf.batches) == 1


def test_feed_offers_again_what_was_refused(tmp_path: Path) -> None:
    counts: list[str] = []
    where = context(tmp_path, lambda name, n: counts.append(name))
    source, shelf = Streams(where, {"a": 4}), Shelf(where)
    shelf.answers.extend([True, False, RetryableError("disk full"), RetryableError("disk full"), False])
    with running(source, shelf):
        until(lambda: source.acked.get("a") == 16)
    assert [each.start for each in shelf.batches] == [0, 1, 2, 3]
    assert shelf.waits == 2
    assert counts == ["channel_failures"] * 2


def test_feed_stops_while_the_channel_refuses_and_tells_the_source_nothing_of_it(tmp_path: Path) -> None:
    source, shelf = Streams(context(tmp_path), {"a": 4}), Shelf(context(tmp_path))
    shelf.answers.extend([True] + [False] * 100_000)
    with running(source, shelf):
        until(lambda: shelf.waits > 3)
    assert source.acked == {"a": 4}


def test_feed_keeps_finished_streams_in_the_channel_until_the_source_has_saved(tmp_path: Path) -> None:
    source, shelf = Streams(context(tmp_path), {"a": 1}), Shelf(context(tmp_path))
    source.save_failures = 2
    with running(source, shelf):
        until(lambda: shelf.log)
        assert source.save_failures == 0
    assert shelf.log == [("forget", ["a"]), ("close", None)]


def test_feed_goes_on_where_the_source_is_when_the_channel_is_behind(tmp_path: Path) -> None:
    counted = Counter[str]()
    counting = replace(context(tmp_path), count=lambda name, n: counted.update({name: n}))
    source = Streams(counting, {"a": 3}, follow=True)
    source.begin = 8
    shelf = Shelf(context(tmp_path), {"a": 4})
    with running(source, shelf):
        until(lambda: source.acked.get("a") == 12)
    assert shelf.log == [("forget", ["a"]), ("close", None)]
    assert len(shelf.batches) == 1
    assert counted["channel_gaps"] == 1


def test_feed_waits_for_a_channel_that_is_not_there_yet(tmp_path: Path) -> None:
    source, shelf = Streams(context(tmp_path), {"a": 1}), Shelf(context(tmp_path))
    shelf.open_failures = 2
    with running(source, shelf):
        until(lambda: source.acked.get("a") == 4)


def test_feed_is_stopped_while_its_channel_is_not_there(tmp_path: Path) -> None:
    source, shelf = Streams(context(tmp_path), {"a": 1}), Shelf(context(tmp_path))
    shelf.open_failures = 1_000_000
    feed = Feed(source, shelf, [], source.context, Metrics().agent("web"))
    opening = threading.Thread(target=feed.open)
    opening.start()
    until(lambda: shelf.open_failures < 999_990)
    feed.stop()
    opening.join()
    feed.close()
    assert shelf.log == [("close", None)]


def test_feed_that_could_not_open_closes_both(tmp_path: Path) -> None:
    source, shelf = Streams(context(tmp_path), {}), Shelf(context(tmp_path))
    Feed(source, shelf, [], source.context, Metrics().agent("web")).close()
    assert (source.log, shelf.log) == ([("close", None)], [("close", None)])
