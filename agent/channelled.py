"""One logical node of an agent with a channel: a feed, and a delivery for each destination. The shell around both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.delivery import Delivery
from agent.feed import Feed
from agent.losses import Losses
from agent.pushed import PushedFeed
from qanat.component import Level, Source

# How often a channel that is left for another is asked whether all that it took is safe: a group commit takes some 10 ms.
SAFE_LOOK_S = 0.01

T = TypeVar("T")
Deliver = Callable[[Source], Delivery]


class Channelled:
    """`deliver`: makes the delivery of each of the feed's cursors from the reader of it."""

    def __init__(self, feed: Feed | PushedFeed, deliver: Sequence[Deliver], losses: Losses) -> None:
        self._feed = feed
        self._deliver = deliver
        self._losses = losses
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self.opened = asyncio.Event()  # source and channel
        self.may_begin = (
            asyncio.Event()
        )  # to move events; as soon as it is open, unless somebody clears it before
        self.may_begin.set()
        self.deliveries: Sequence[Delivery] = ()
        # What is lost with the process is delivered before it ends, if there is time; the channel says what was left.
        self._empties = feed.channel.kind.keeps < Level.E2E
        self._leaves = False

    async def run(self) -> None:
        """*Blocking* until `stop`, then until what was sent is acked. Raises what a delivery raises."""
        try:
            if await self._ask(self._feed.open):
                self.opened.set()
                await self.may_begin.wait()
                await self._deliver_all()
                if self._leaves:
                    await self._ask(self._feed.leave)
        finally:
            self._feed.stop()
            await self._ask(self._feed.close)
            self._losses.close()
            self._thread.shutdown(wait=True)

    async def _deliver_all(self) -> None:
        readers = [self._feed.channel.reader(cursor.name) for cursor in self._feed.cursors]
        deliveries = [deliver(reader) for deliver, reader in zip(self._deliver, readers, strict=True)]
        self.deliveries = deliveries
        async with asyncio.TaskGroup() as group:
            for delivery in deliveries:
                group.create_task(delivery.run())
            group.create_task(self._feed_until_stopped(deliveries))

    def stop(self, *, empty: bool = False) -> None:
        """Read nothing more from the source; `run` ends when what is to be delivered is: with `empty` all that is in the channel,
        although it would keep it, and the source remembers that. Then `run` may raise RetryableError."""
        self._empties = self._empties or empty
        self._leaves = empty
        self._feed.stop()
        self.may_begin.set()

    @property
    def is_over(self) -> bool:
        """The channel has everything that there will ever be; what waits in it is another matter."""
        return isinstance(self._feed, Feed) and self._feed.is_over

    def _ask(self, call: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.wrap_future(self._thread.submit(call))

    async def _feed_until_stopped(self, deliveries: Sequence[Delivery]) -> None:
        await self._ask(self._feed.run)
        while self._empties and not await self._ask(self._feed.is_safe):  # noqa: ASYNC110  # a thread's, without an event
            await asyncio.sleep(SAFE_LOOK_S)  # readers don't see yet what was taken last
        for delivery in deliveries:
            delivery.stop(empty=self._empties)
