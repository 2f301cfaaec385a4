"""Runs a sink on its own two threads: one appends, one makes durable.

*Guarantee*: after an append that failed, nothing is appended or prepared until the next discard, so no transaction can
cover the hole that the failure left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from collector.dead_letters import DeadLetters
from qanat.batch import Batch
from qanat.component import Prepared, Sink
from qanat.errors import PermanentError, RetryableError

T = TypeVar("T")


class SinkWorker:
    """The asynchronous face of a synchronous sink.

    `adopts`: in the place of a process that may still live.
    `on_failed_append(reason)` and `on_fatal(error)` are called on the event loop. *Thread*: all methods belong to it.
    """

    def __init__(
        self,
        sink: Sink,
        dead_letters: DeadLetters,
        *,
        on_failed_append: Callable[[str], None],
        on_fatal: Callable[[BaseException], None],
        adopts: bool = False,
    ) -> None:
        self._sink = sink
        self._adopts = adopts
        self._dead_letters = dead_letters
        self._on_failed_append = on_failed_append
        self._on_fatal = on_fatal
        self._appender = ThreadPoolExecutor(1, thread_name_prefix="sink")
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="sink-sync")
        self._prepared: Prepared | None = None
        self._hole: str | None = None  # sink thread only: why appends are refused
        self._room = asyncio.Event()
        self.queued_bytes = 0

    def append(self, batch: Batch) -> None:
        """Hand a batch over; it is appended after everything handed over before."""
        size = batch.payload_bytes
        self.queued_bytes += size
        loop = asyncio.get_running_loop()
        future = self._appender.submit(self._append, batch)
        future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._appended, size, done))

    async def wait_for_room(self, queued_bytes_max: int) -> None:
        """*Blocking* until less than this is queued, and no limited rate is exceeded: what holds a connection's reader back
        when the disk is slow, or is told to be."""
        while True:
            while self.queued_bytes >= queued_bytes_max:
                self._room.clear()
                await self._room.wait()
            pause_s = self._sink.pause_s()
            if pause_s <= 0:
                return
            await asyncio.sleep(pause_s)

    async def claim(self) -> None:
        await self._on(self._appender, partial(self._sink.claim, by_force=self._adopts))

    async def open(self, token: bytes | None) -> None:
        await self._on(self._appender, self._sink.open, token)

    async def prepare(self, *, drain: bool) -> bytes:
        self._prepared = await self._on(self._appender, self._prepare, drain)
        return self._prepared.token

    async def sync(self) -> None:
        assert self._prepared is not None, "sync without a prepare"
        await self._on(self._syncer, self._prepared.sync)

    async def publish(self, token: bytes) -> None:
        await self._on(self._syncer, self._sink.publish, token)

    async def discard(self, token: bytes | None) -> None:
        await self._on(self._appender, self._discard, token)

    async def close(self) -> None:
        """Wait for what runs, then close the sink."""
        await self._on(self._syncer, lambda: None)
        await self._on(self._appender, self._sink.close)
        self._appender.shutdown(wait=True)
        self._syncer.shutdown(wait=True)

    @staticmethod
    async def _on(executor: ThreadPoolExecutor, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call, *args)

    def _append(self, batch: Batch) -> str | None:
        """On the sink thread. Gives why it failed, once for each hole."""
        if self._hole is not None:
            return None
        try:
            self._store(batch)
        except RetryableError as error:
            self._hole = str(error)
        return self._hole

    def _store(self, batch: Batch) -> None:
        try:
            self._sink.append(batch)
        except PermanentError as error:
            self._dead_letters.put(batch, str(error))

    def _appended(self, size: int, done: Future[str | None]) -> None:
        self.queued_bytes -= size
        self._room.set()
        error = done.exception()
        if error is not None:
            self._on_fatal(error)
            return
        reason = done.result()
        if reason is not None:
            self._on_failed_append(reason)

    def _prepare(self, drain: bool) -> Prepared:
        if self._hole is not None:
            raise RetryableError(self._hole)
        if drain:
            self._sink.drain()
        return self._sink.prepare()

    def _discard(self, token: bytes | None) -> None:
        self._sink.discard(token)
        self._hole = None
