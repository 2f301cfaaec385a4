"""Feeds a channel from a source: to the source it is what a collector is, to the channel what an application is.

Everything is on one thread. Nothing that was read is lost: a batch that is refused is offered again until it is taken, and
the source is only told of what the channel says is safe in it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import structlog

from agent.abreast import Pace, Progress
from agent.lag import Lag
from agent.refusals import Refusals
from qanat import limits
from qanat.batch import Batch
from qanat.component import Channel, Context, Cursor, Source, StreamFinished, StreamFound
from qanat.control.sampling import TapPoint
from qanat.errors import RetryableError
from qanat.metrics import AgentMetrics

log = structlog.get_logger(__name__)

POLL_S = 1.0  # the longest a source's poll waits; `wake` ends it earlier
NEWS_S = 0.25  # how often a source that always has data is asked for new streams, and told what is safe
ROOM_S = 0.25  # the longest a full channel is waited for without looking whether to stop
WAIT_S = 0.1  # how often a branch that is too far ahead looks whether it still is
LAG_S = 1.0  # how often the source's lag is measured


class Feed:
    """*Thread*: `open`, `run`, `close` belong to one, `stop` to any. Life: `open`, `run` until `stop`, `close`."""

    def __init__(
        self,
        source: Source,
        channel: Channel,
        cursors: Sequence[Cursor],
        context: Context,
        metrics: AgentMetrics,
        pace: Pace | None = None,
        tap: TapPoint | None = None,
    ) -> None:
        self.channel = channel
        self.cursors = cursors
        self.is_over = False  # the channel has everything that the source will ever have
        self._source = source
        self._context = context
        self._metrics = metrics
        self._pace = pace
        self._tap = tap or TapPoint()
        if pace is not None:
            pace.progress = lambda: Progress(self._taken_bytes, self._taken_bytes)
        self._stopping = threading.Event()
        self._held: Batch | None = None  # read, and not taken yet
        self._known: dict[str, int] = {}  # in the channel, and not found by the source yet
        self._taken: dict[str, int] = {}  # by the channel, in this life
        self._safe: dict[str, int] = {}
        self._ends: dict[str, int] = {}  # of finished streams that the channel remembers
        self._is_open = False
        self._taken_bytes = 0
        self._refusals = Refusals(channel, context, "the source waits, nothing is lost")
        self._news_at_s = 0.0
        self._lag_at_s = 0.0
        self._lag = Lag()

    def open(self) -> bool:
        """*Blocking* until the channel is there (a database may be away); False when stopped before. Raises ConfigError
        when source or channel can't work on this host."""
        self._source.open()
        while not self._stopping.is_set():
            try:
                self._known = dict(self.channel.open(self.cursors))
            except RetryableError as error:
                self._wait(error)
                continue
            self._source.recover(self._known)
            self._is_open = True
            return True
        return False

    def run(self) -> None:
        """*Blocking* until `stop`."""
        while not self._stopping.is_set():
            if self._held is None and self._pace is not None and not self._pace.may_read():
                self._hear(0.0)
                self._stopping.wait(WAIT_S)
                continue
            if self._held is None:
                self._held = self._read()
            if self._held is None:
                self._hear(POLL_S)
                continue
            self._offer(self._held)
            if self._context.clock.monotonic_s() >= self._news_at_s:
                self._hear(0.0)

    def stop(self) -> None:
        """Read nothing more. What was refused is read again by the next start."""
        self._stopping.set()
        self._source.wake()

    def is_safe(self) -> bool:
        """After `run`: all that the channel has taken is safe in it, and only then surely seen by its readers."""
        self._settle()
        return all(self._safe.get(stream, -1) >= end for stream, end in self._taken.items())

    def leave(self) -> None:
        """After `run`: nothing that is safe in the channel is read again by another that replaces it, also of what an
        earlier life has put there and did not live to note. Raises RetryableError."""
        self._hear(0.0)
        self._source.save()

    def close(self) -> None:
        """After the channel's readers. Idempotent."""
        try:
            if self._is_open:
                self._is_open = False
                self._settle()
        finally:
            self._source.close()
            self.channel.close()
            self._metrics.idle()

    def _read(self) -> Batch | None:
        batch = self._source.read(limits.BATCH_BYTES_TARGET)
        if batch is not None:
            self._metrics.read(batch.count, batch.payload_bytes)
            if (sample := self._tap.sample) is not None:
                sample(batch)
        return batch

    def _offer(self, batch: Batch) -> None:
        try:
            taken = self.channel.put(batch)
        except RetryableError as error:
            self._wait(error)
            return
        if not taken:
            self.channel.wait_for_room(ROOM_S)
            return
        self._held = None
        self._taken[batch.stream] = batch.end
        self._taken_bytes += batch.payload_bytes
        self._refusals.over()

    def _wait(self, error: RetryableError) -> None:
        """Until the next attempt."""
        self._stopping.wait(self._refusals.pause_s(error))

    def _hear(self, timeout_s: float) -> None:
        for event in self._source.poll(timeout_s):
            if isinstance(event, StreamFound):
                self._found(event)
            elif isinstance(event, StreamFinished):
                self._ends[event.stream] = event.end
        self._settle()
        now_s = self._context.clock.monotonic_s()
        self._news_at_s = now_s + NEWS_S
        if now_s >= self._lag_at_s:
            self._lag_at_s = now_s + LAG_S
            lag_bytes = self._source.lag_bytes()
            self._metrics.lag_bytes(lag_bytes)
            self.is_over = self._held is None and self._source.is_over()
            held_bytes = 0 if self._held is None else self._held.payload_bytes
            self._metrics.lag_s(self._lag.measured(self._taken_bytes + held_bytes, lag_bytes, now_s))
            if self._pace is not None:
                self._pace.measured(lag_bytes, now_s)
            self._metrics.filled(self.channel.fill())

    def _found(self, event: StreamFound) -> None:
        taken = self._known.pop(event.stream, None)
        position = event.position if taken is None else max(event.position, taken)
        if taken is not None and taken < event.position:
            self._skip(event, taken)
        if position > event.position:  # taken in an earlier life, whose source did not save that it was told
            self._source.acknowledge({event.stream: position})
        self._safe[event.stream] = position
        self._source.seek(event.stream, position)

    def _skip(self, event: StreamFound, taken: int) -> None:
        """The source was told that more is safe than this channel has: it does not give that again."""
        log.warning(
            "channel_behind_source",
            node=self._context.logical_node,
            stream=event.stream,
            taken=taken,
            position=event.position,
            reason="the node ran without this channel meanwhile, or an older copy of it was put back, or files of it removed",
            consequence="what is between is not read again; if destinations don't have it, it is lost",
        )
        self._context.count("channel_gaps", 1)
        self.channel.forget([event.stream])

    def _settle(self) -> None:
        """Tell the source what is safe; let the channel forget what the source has durably forgotten, in this order: a
        source that came back with an older position would put events a second time."""
        moved = self.channel.accepted()
        if moved:
            self._source.acknowledge(moved)
            self._metrics.moved(moved)
            self._safe.update(moved)
        done = {name: end for name, end in self._ends.items() if self._safe.get(name, -1) >= end}
        if not done:
            return
        self._source.acknowledge(done)
        try:
            self._source.save()
        except RetryableError as error:
            log.warning(
                "source_not_saved", error=str(error), consequence="the channel remembers finished streams"
            )
            return
        self.channel.forget(sorted(done))
        for name in done:
            del self._ends[name], self._safe[name]
            self._taken.pop(name, None)
