"""A channel that is left for another: nothing stays in it that its readers could not see when the feed stopped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.channelled import Channelled
from agent.feed import Feed
from agent.losses import Losses
from qanat.component import Cursor
from qanat.errors import RetryableError
from qanat.metrics import Metrics
from tests.unit.agent.scripted import Shelf, ShelfReader, Streams, context


class GroupCommit(Shelf):
    """What is taken can be read, and is accepted, once `sync` was called."""

    synced = 0

    def accepted(self):
        self.sync_when_asked()
        return super().accepted() if self.synced == self.end else {}

    def sync_when_asked(self):
        """A test puts something here."""

    def reader(self, cursor):
        return SyncedReader(self, cursor)


class SyncedReader(ShelfReader):
    def bounds(self):
        return 0, self._shelf.synced


class Emptying:
    """Reads until it is stopped, and then what there is."""

    def __init__(self, reader):
        self.reader = reader
        self.may_begin = asyncio.Event()
        self.read = 0
        self._stopped = asyncio.Event()

    async def run(self):
        await self._stopped.wait()
        self.reader.seek(ShelfReader.stream, 0)
        while batch := self.reader.read(1 << 20):
            self.read += batch.count

    def stop(self, *, empty=False):
        assert empty
        self._stopped.set()


def channelled(source, shelf):
    metrics = Metrics().agent("web")
    feed = Feed(source, shelf, [Cursor("web")], source.context, metrics)
    return Channelled(feed, [Emptying], Losses(source.context, metrics))


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # what it looks at has no event
            await asyncio.sleep(0.005)


def test_what_was_taken_last_is_delivered_though_readers_see_it_late(tmp_path: Path) -> None:
    async def scenario():
        source, shelf = Streams(context(tmp_path), {"a": 5}, follow=True), GroupCommit(context(tmp_path))
        made = channelled(source, shelf)
        running = asyncio.create_task(made.run())
        await until(lambda: len(shelf.batches) == 5)
        looks = []

        def sync_when_asked():
            looks.append(1)
            if len(looks) == 3:
                shelf.synced = shelf.end

        shelf.sync_when_asked = sync_when_asked
        made.stop(empty=True)
        await running
        assert made.deliveries[0].read == 5
        assert source.acked == {"a": 20}
        assert ("save", None) in source.log

    asyncio.run(scenario())


def test_channel_is_not_left_when_the_source_can_not_note_what_it_took(tmp_path: Path) -> None:
    async def scenario():
        source, shelf = Streams(context(tmp_path), {"a": 5}, follow=True), Shelf(context(tmp_path))
        source.save_failures = 100
        made = channelled(source, shelf)
        running = asyncio.create_task(made.run())
        await until(lambda: len(shelf.batches) == 5)
        made.stop(empty=True)
        with pytest.raises(RetryableError, match="disk full"):
            await running

    asyncio.run(scenario())


def test_nothing_is_read_before_it_may_begin(tmp_path: Path) -> None:
    async def scenario():
        source, shelf = Streams(context(tmp_path), {"a": 5}, follow=True), Shelf(context(tmp_path))
        made = channelled(source, shelf)
        made.may_begin.clear()
        running = asyncio.create_task(made.run())
        await made.opened.wait()
        await asyncio.sleep(0.05)
        assert shelf.batches == []
        made.may_begin.set()
        await until(lambda: len(shelf.batches) == 5)
        made.stop()
        await running

    asyncio.run(scenario())
