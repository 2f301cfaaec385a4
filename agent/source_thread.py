"""The one thread that a source lives on. Everything the source is asked to do goes through its queue, in the order of asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from qanat.component import Source

T = TypeVar("T")


class SourceThread:
    """`fail(error)` is called on the event loop when something that was told, not asked, raises.

    *Thread*: the event loop; `post` any."""

    def __init__(self, source: Source, fail: Callable[[BaseException], None]) -> None:
        self._source = source
        self._fail = fail
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="source")
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Open the source."""
        self._loop = asyncio.get_running_loop()
        await self.ask(self._source.open)

    def ask(self, call: Callable[..., T], *args: object) -> asyncio.Future[T]:
        """The result of `call(*args)` on the thread."""
        return asyncio.wrap_future(self._executor.submit(call, *args))

    def tell(self, call: Callable[..., T], *args: object, then: Callable[[T], None] | None = None) -> None:
        """Do this after all that was asked and told before; `then` gets its result on the loop."""
        self._source.wake()
        future = self._executor.submit(call, *args)
        future.add_done_callback(lambda done: self.post(self._told, done, then))

    def post(self, call: Callable[..., None], *args: object) -> None:
        """Call on the event loop, soon."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    async def close(self) -> None:
        """Close the source, end the thread."""
        self._source.wake()
        await self.ask(self._source.close)
        self._executor.shutdown(wait=True)

    def _told(self, done: Future[T], then: Callable[[T], None] | None) -> None:
        if (error := done.exception()) is not None:
            self._fail(error)
        elif then is not None:
            then(done.result())
