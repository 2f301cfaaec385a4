"""One logical node of an agent: a source, delivered. The shell around `qanat.delivery.sender`.

The source lives on one thread of its own. Everything it is asked to do goes through that thread's queue, so a seek is done
before any read that is asked for after it, and what is persisted is persisted before anything is said about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import groupby
from typing import Any

import structlog

from agent.abreast import Pace, Progress
from agent.connection import Connection, answers
from agent.lag import Lag, Unsought
from agent.source_thread import SourceThread
from agent.standing import Standing
from qanat import limits
from qanat.batch import Batch
from qanat.component import Context, Source, StreamEvent, StreamFinished, StreamFound
from qanat.control.sampling import TapPoint
from qanat.delivery import sender_messages as m
from qanat.delivery.sender import Phase, SenderCore
from qanat.errors import FencedError, RetryableError
from qanat.metrics import AgentMetrics
from qanat.rpc.backoff import backoff_s
from qanat.rpc.codec import after_rewinds, encode_batch
from qanat.rpc.options import PROTOCOL
from qanat.wire.v1 import delivery_pb2 as wire

log = structlog.get_logger(__name__)

POLL_S = 1.0  # the longest a source's poll waits; `wake` ends it earlier
NEWS_S = 0.25  # how often a source that always has data is asked for new streams
# Small batches, as of thousands of files with a line each, are read together: a hop to the source's thread and back costs
# more than to read one. Not beyond this share of what may be read: a large batch is never cut short for it.
SMALL_SHARE = 1 / 8
SMALL_BATCHES_MAX = 32  # the loop handles so many in a few milliseconds
WAIT_S = 0.1  # how often a branch that is too far ahead looks whether it still is
LAG_S = 1.0  # how often the source's lag is measured
RETRY_S_MAX = 60.0  # the longest pause between attempts when no collector of the chain answers
CHAIN_RETRY_S_MAX = 0.2  # the next of a chain is tried at once, but not by all agents in the same ms
HURRY_S_MAX = 1.0  # after a master's word that collectors changed, which a thousand agents hear at once
RELEASE_S_MAX = 2.0  # one write to the store; who comes next can do without it
MEASURE_S = 1.0  # a scrape is some ten times rarer
PROBE_S = 5.0  # how often a preferred collector that was lost is tried
PROBES_HEALTHY = 6  # this many good probes in a row, and the sender returns to it


class Delivery:
    """Delivers one source until stopped. `run` raises FencedError when a newer process has the name."""

    def __init__(
        self,
        core: SenderCore,
        source: Source,
        context: Context,
        metrics: AgentMetrics,
        pace: Pace | None = None,
        tap: TapPoint | None = None,
    ) -> None:
        self.core = core
        self.destination = ""
        self.standing = Standing(context.clock)
        self.opened = asyncio.Event()  # the source can be read
        self.is_over = False  # everything that the source will ever have was read
        self.may_begin = asyncio.Event()  # to deliver; somebody may clear it before it is open
        self.may_begin.set()
        self._source = source
        self._context = context
        self._metrics = metrics
        self._pace = pace
        self._tap = tap or TapPoint()
        if pace is not None:
            pace.progress = lambda: Progress(core.acked_bytes + core.inflight_bytes, core.acked_bytes)
        self._thread = SourceThread(source, self._fail)
        self._connection: Connection | None = None
        self._batch: tuple[Batch, bytes] | None = None
        self._go = asyncio.Event()
        self._stopping = False
        self._emptying = False
        self._leaves = False
        self._releases = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._lag_at_s = 0.0
        self._lag = Lag()
        self._unsought = Unsought()
        self._hurry = asyncio.Event()
        self._hurried = 0  # attempts that need not wait for long
        self._is_recovered = False  # the source knows what collectors know, and may look for streams
        self._unretired: set[str] = set()  # finished streams that collectors still remember

    async def run(self) -> None:
        """*Blocking* until `stop`, then until what was sent is acked or `drain_s_max` passed."""
        try:
            await self._thread.open()
            self.opened.set()
            await self.may_begin.wait()
            self._handle(m.Started())
            tasks = [asyncio.create_task(each()) for each in (self._pump, self._probe, self._measure)]
            failed = asyncio.create_task(self._failed.wait())
            self._tasks.update((*tasks, failed))
            done, _ = await asyncio.wait((*tasks, failed), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if self._failure is not None:
                raise self._failure
            if self._leaves:
                await self._hear(0.0)  # what was acked to an earlier life, which did not live to note it
                await self._thread.ask(self._source.save)
            if self._releases:
                await self._release()
        finally:
            await self._close()

    async def _release(self) -> None:
        if self._connection is not None and self.core.is_drained and self.core.phase is Phase.STREAMING:
            await self._connection.release(RELEASE_S_MAX)

    def stop(self, *, empty: bool = False, leave: bool = False, release: bool = False) -> None:
        """Read nothing more, or with `empty` only what there is now; `run` ends when what was sent is acked. Cancel it not
        to wait for that. `leave`: another takes over the source, which has to know what was acked; `run` may raise
        RetryableError. `release`: another process goes on under this name, perhaps at another collector."""
        self._stopping = True
        self._releases = release
        self._emptying = empty
        self._leaves = leave
        self.may_begin.set()
        self._source.wake()
        self._go.set()

    def retry_soon(self) -> None:
        """A collector may be back: try each of the chain once without the long pause between attempts."""
        if self.core.phase in (Phase.BACKOFF, Phase.CONNECTING):
            self._hurried = len(self.core.destinations)
            self._hurry.set()

    async def _close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._thread.close()
        self._metrics.idle()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._failed.set()

    # Reading.

    async def _pump(self) -> None:
        """Read while there is credit and room; ask for news when there is nothing to read, and now and then anyway."""
        loop = asyncio.get_running_loop()
        news_at = 0.0
        while not self._is_done():
            if not self._may_read():
                await self._wait_to_read()
                continue
            if self._pace is not None and not self._pace.may_read():
                await self._hear(0.0)
                await asyncio.sleep(WAIT_S)
                continue
            before = self.core.positions() if self._emptying else None
            was_read = await self._read_some()
            if before is not None and not was_read and self._was_empty(before):
                return
            if not was_read or loop.time() >= news_at:
                await self._hear(0.0 if was_read else POLL_S)
                news_at = loop.time() + NEWS_S

    async def _wait_to_read(self) -> None:
        """Until something has happened. How far behind it is has to be known all the same, and what is new is found."""
        self._go.clear()
        try:
            async with asyncio.timeout(LAG_S):
                await self._go.wait()
        except TimeoutError:
            is_known = self._is_recovered or await self._thread.ask(self._source.knows_its_streams)
            if is_known and not self._stopping:
                await self._hear(0.0)

    def _is_done(self) -> bool:
        if not self._stopping or self._emptying:
            return False
        return self.core.is_drained or self.core.phase is not Phase.STREAMING

    def _was_empty(self, before: Mapping[str, tuple[int, int | None]]) -> bool:
        """After a read that gave nothing: all that was there is acked. A stream that is not open yet, or was sought elsewhere
        meanwhile, may have more."""
        opened = bool(before) and all(at is not None for _, at in before.values())
        return (
            opened
            and not self._source.is_held_back()
            and self.core.is_drained
            and self.core.phase is Phase.STREAMING
            and before == self.core.positions()
        )

    def _may_read(self) -> bool:
        return (
            (not self._stopping or self._emptying)
            and self.core.credit_bytes > 0
            and self._connection is not None
            and self._connection.has_room
        )

    def _read(self, max_bytes: int) -> list[tuple[Batch, bytes]]:
        """On the source's thread: one batch, or several small ones; none when there is nothing to read."""
        items: list[tuple[Batch, bytes]] = []
        total_bytes = 0
        while total_bytes <= max_bytes * SMALL_SHARE and len(items) < SMALL_BATCHES_MAX:
            batch = self._source.read(max_bytes - total_bytes)
            if batch is None:
                break
            items.append((batch, encode_batch(batch)))
            total_bytes += batch.payload_bytes
        return items

    async def _read_some(self) -> bool:
        """False when there is nothing to read. Nothing here outlives a batch: a megabyte kept is a megabyte of RSS."""
        generation = self.core.generation
        items = await self._thread.ask(self._read, min(self.core.credit_bytes, limits.BATCH_BYTES_TARGET))
        for item in items:
            self._was_read(item, generation)
        return bool(items)

    def _was_read(self, item: tuple[Batch, bytes], generation: int) -> None:
        self._batch = item
        batch = item[0]
        self._metrics.read(batch.count, batch.payload_bytes)
        now_s = self._context.clock.monotonic_s()
        self._handle(
            m.WasRead(
                batch.stream, batch.start, batch.end, batch.payload_bytes, batch.count, now_s, generation
            )
        )
        self._batch = None
        if self.core.phase is not Phase.STREAMING:
            self._unsought.add(batch.payload_bytes, now_s)

    async def _hear(self, timeout_s: float) -> None:
        news = await self._thread.ask(self._listen, timeout_s)
        found = {event.stream: event.position for event in news if isinstance(event, StreamFound)}
        finished = {event.stream: event.end for event in news if isinstance(event, StreamFinished)}
        if found:
            self._handle(m.Found(found))
        if finished:
            self._handle(m.Finished(finished))

    def _listen(self, timeout_s: float) -> list[StreamEvent]:
        """On the source's thread. How far behind it is may mean asking each of ten thousand streams: not every time."""
        news = self._source.poll(timeout_s)
        now_s = self._context.clock.monotonic_s()
        if now_s >= self._lag_at_s:
            self._lag_at_s = now_s + LAG_S
            lag_bytes = self._source.lag_bytes()
            self._metrics.lag_bytes(lag_bytes)
            self.is_over = self._source.is_over()
            consumed_bytes = self.core.acked_bytes + self.core.inflight_bytes
            self._metrics.lag_s(self._lag.measured(consumed_bytes, lag_bytes, now_s))
            if self._pace is not None:
                self._thread.post(self._pace.measured, lag_bytes, now_s)
        return news

    # The core.

    def _handle(self, event: m.Event) -> None:
        for kind, commands in groupby(self.core.handle(event), type):
            if kind is m.Seek:  # ten thousand files are one call, not as many
                self._thread.tell(self._seek, list(commands))
                continue
            for command in commands:
                self._do(command)
        self._go.set()

    def _seek(self, seeks: Iterable[m.Command]) -> None:
        """On the source's thread."""
        self._unsought.clear()
        for seek in seeks:
            assert isinstance(seek, m.Seek)
            self._source.seek(seek.stream, seek.position)

    def _do(self, command: m.Command) -> None:
        match command:
            case m.SendRead():
                self._send_read(command.rewinds)
            case m.Acknowledge():
                self._thread.tell(self._source.acknowledge, command.positions)
                self._metrics.moved(command.positions)
            case m.Recover():
                self._thread.tell(self._source.recover, command.committed)
                self._is_recovered = True
                if not self.core.positions():  # all was stored, only the acks were lost: nothing is sought
                    self._unsought.clear()
            case m.Pause():
                self._spawn(self._pause(command.attempt))
            case m.Connect():
                self._connect(command)
            case m.Close():
                self._disconnect()
            case m.SendRetire():
                self._thread.tell(self._save, then=partial(self._retire, command))
            case m.Halt():
                self._fail(FencedError(command.reason))
            case _:
                self._say(command)

    def _send_read(self, rewinds: int) -> None:
        assert self._batch is not None
        assert self._connection is not None
        batch, data = self._batch
        if (sample := self._tap.sample) is not None:
            sample(batch)
        self._connection.send_batch(after_rewinds(data, rewinds))
        self._metrics.sent(batch.count, batch.payload_bytes)

    def _say(self, command: m.Command) -> None:
        connection = self._connection
        if connection is None:
            return
        match command:
            case m.SendHello():
                hello = wire.Hello(
                    protocol=PROTOCOL,
                    sender=command.sender,
                    instance=command.instance,
                    instance_epoch=command.instance_epoch,
                    ack_on_receipt=command.ack_on_receipt,
                )
                connection.send(wire.ToCollector(hello=hello))
            case m.SendOpen():
                connection.send(wire.ToCollector(open=wire.OpenStreams(positions=command.positions)))
            case m.SendRelease():
                connection.send(wire.ToCollector(release=wire.Release()))

    def _save(self) -> bool:
        """On the source's thread: what was acknowledged and forgotten is durable now."""
        try:
            self._source.save()
        except RetryableError as error:
            log.warning(
                "source_not_saved", error=str(error), consequence="collectors remember finished streams"
            )
            return False
        return True

    def _retire(self, command: m.SendRetire, saved: bool) -> None:
        """Let the collector forget streams, once the source has durably forgotten them: one that crashed with an older
        position would otherwise send events again. What can't be said now is said with the next streams."""
        connection = self._connection
        self._unretired.update(command.streams)
        if saved and connection is not None and connection.number == command.connection:
            retire = wire.RetireStreams(streams=sorted(self._unretired))
            connection.send(wire.ToCollector(retire=retire))
            self._unretired.clear()

    def _connect(self, command: m.Connect) -> None:
        log.debug("collector_connecting", destination=command.destination)
        if command.destination != self.destination and self.destination:
            self._metrics.failed_over()
        self.destination = command.destination
        self.standing.left()
        self._connection = Connection(
            command.connection, command.destination, self._on_connection_event, self._go.set
        )

    def _on_connection_event(self, event: m.Event) -> None:
        if isinstance(event, m.Welcomed):
            self.standing.welcomed(self.destination)
            log.info("collector_welcomes", node=self._context.logical_node, destination=self.destination)
        elif isinstance(event, m.Disconnected):
            self.standing.left()
            node = self._context.logical_node
            log.warning("collector_lost", node=node, destination=self.destination, reason=event.reason)
        elif isinstance(event, m.Rewound):
            self._metrics.rewound()
        events, payload_bytes, batches = self._acked()
        inflight_bytes, oldest_s = self.core.inflight_bytes, self.core.oldest_unacked_s()
        self._handle(event)
        if oldest_s is not None and self._connection is None:
            self._unsought.add(inflight_bytes, oldest_s)
        if self.core.acked_batches > batches:
            acked = self._acked()
            self._metrics.acked(acked[0] - events, acked[1] - payload_bytes, acked[2] - batches)

    def _acked(self) -> tuple[int, int, int]:
        return self.core.acked_events, self.core.acked_bytes, self.core.acked_batches

    async def _measure(self) -> None:
        """How long the oldest batch has been waiting, also while nothing comes and goes."""
        while True:
            self._metrics.unacked_bytes(self.core.inflight_bytes + self._unsought.payload_bytes)
            oldest_s = min(self._unsought.read_s, self.core.oldest_unacked_s() or math.inf)
            now_s = self._context.clock.monotonic_s()
            self._metrics.unacked_age_s(max(0.0, now_s - oldest_s))
            await asyncio.sleep(MEASURE_S)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._spawn(self._connection.close())
            self._connection = None

    async def _pause(self, attempt: int) -> None:
        chain = len(self.core.destinations)
        if attempt and attempt < chain:
            await asyncio.sleep(backoff_s(attempt, CHAIN_RETRY_S_MAX))
        elif attempt:
            await self._unless_hurried(backoff_s(attempt // chain, RETRY_S_MAX))
        self._handle(m.WaitOver(attempt))

    async def _unless_hurried(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()
                await asyncio.sleep(random.uniform(0, HURRY_S_MAX))
        self._hurried = max(0, self._hurried - 1)
        if not self._hurried:
            self._hurry.clear()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The way back to the preferred collector.

    async def _probe(self) -> None:
        healthy = 0
        while True:
            await asyncio.sleep(PROBE_S)
            if self.core.destination == 0 or self.core.phase is not Phase.STREAMING:
                healthy = 0
                continue
            healthy = healthy + 1 if await answers(self.core.destinations[0]) else 0
            if healthy >= PROBES_HEALTHY:
                node, first = self._context.logical_node, self.core.destinations[0]
                log.info("collector_preferred_is_back", node=node, destination=first)
                self._handle(m.FirstIsHealthy())
                healthy = 0
