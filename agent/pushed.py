"""Feeds a channel from a live source: takes parcels from its inlet, has them formed into batches, and says what is safe.

The counterpart of `agent.feed`, with the same life. The events of one process are one stream, numbered from 0; those of earlier
processes are over. What a channel refuses is offered again; meanwhile the inlet fills, and the source makes its peers wait.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from qanat import inlet, limits
from qanat.batch import Batch
from qanat.component import Channel, Context, Cursor, Events, LiveSource, Parcel
from qanat.control.sampling import TapPoint
from qanat.errors import RetryableError
from qanat.inlet import BoundedInlet
from qanat.metrics import AgentMetrics
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

# Of the streams that live sources have in a channel; the rest of a name is new with each process.
STREAM_PREFIX = "live#"

# What is counted when a stopping agent's channel takes nothing more.
UNACCEPTED = "events_unaccepted"

POLL_S = 1.0  # the longest wait for parcels; `stop` ends it earlier
# Parcels that come one by one are put together for so long: to form and put a batch costs some 0.5 ms, however small. Half of
# what a group commit waits, so an answer comes hardly later.
LINGER_S = 0.005
# Longer where a batch costs more, as on a busy machine: small ones take a fifth of a core at most. Nobody notices so much.
LINGER_SHARE = 4
LINGER_S_MAX = 0.05
ROOM_S = 0.25  # the longest a full channel is waited for without looking whether to stop
RETRY_S_MAX = 5.0  # as in agent.feed
SETTLE_S = 0.002  # how often the channel is asked what is safe while a peer waits for an answer
LAG_S = 1.0  # how often what waits is measured
# What a stopping feed waits for a channel that refuses, and then for its sync: a part of what an agent has for draining.
STOP_S_MAX = 3.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Who is told when the stream is safe up to `end`."""

    end: int
    settled: Callable[[bool], None]


class PushedFeed:
    """*Thread*: `open`, `run`, `close` belong to one, `stop` to any. Life: `open`, `run` until `stop`, `close`."""

    def __init__(
        self,
        source: LiveSource,
        channel: Channel,
        cursors: Sequence[Cursor],
        context: Context,
        metrics: AgentMetrics,
        tap: TapPoint | None = None,
    ) -> None:
        self.channel = channel
        self.cursors = cursors
        self._source = source
        self._context = context
        self._metrics = metrics
        self._tap = tap or TapPoint()
        self._stream = f"{STREAM_PREFIX}{secrets.token_hex(6)}"
        self._inlet = BoundedInlet()
        self._stopping = threading.Event()
        self._end = 0  # of the stream
        self._safe = 0
        self._waiting: deque[_Waiting] = deque()
        self._is_started = False
        self._failures = 0  # in a row
        self._until_s = 0.0  # once it is stopping: when it gives up
        self._left = 0  # events that were given up
        self._put_at_s = 0.0
        self._linger_s = LINGER_S
        self._lag_at_s = 0.0

    def open(self) -> bool:
        """*Blocking* until the channel is there; False when stopped before. Raises ConfigError when source or channel can't work
        on this host."""
        is_bound = False
        while not self._stopping.is_set():
            try:
                if not is_bound:
                    self._source.open()
                    is_bound = True
                known = self.channel.open(self.cursors)
            except RetryableError as error:
                self._wait(error)
                continue
            self.channel.forget([name for name in known if name.startswith(STREAM_PREFIX)])
            return True
        return False

    def run(self) -> None:
        """*Blocking* until `stop`, then until what was received is in the channel, or refused for too long."""
        if not self._stopping.is_set():
            self._is_started = True
            self._source.start(self._inlet)
        while not self._stopping.is_set():
            self._inlet.gather(limits.BATCH_BYTES_TARGET, self._put_at_s + self._linger_s)
            parcels = self._inlet.take(limits.BATCH_BYTES_TARGET, SETTLE_S if self._waiting else POLL_S)
            self._left += self._put_all(parcels)
            self._settle()
            self._measure()
        self._finish()

    def stop(self) -> None:
        """Receive nothing more."""
        if not self._stopping.is_set():
            self._until_s = time.monotonic() + STOP_S_MAX
        self._stopping.set()
        self._inlet.wake()

    def is_safe(self) -> bool:
        """After `run`: all that the channel has taken is safe in it, and only then surely seen by its readers."""
        self._settle()
        return self._safe >= self._end

    def leave(self) -> None:
        """After `run`: another channel takes over. There is nothing to note: what this one has taken never comes again."""

    def close(self) -> None:
        """After the channel's readers. Idempotent."""
        try:
            self._finish()
        finally:
            self._source.close()
            self.channel.close()

    def _finish(self) -> None:
        """What the source has received goes into the channel; whoever is not told by then has to repeat."""
        if not self._is_started:
            return
        self._is_started = False
        self.stop()
        self._inlet.lift()
        self._source.stop()
        while parcels := self._inlet.take(limits.BATCH_BYTES_TARGET, 0.0):
            self._left += self._put_all(parcels)
        while self._waiting and time.monotonic() < self._until_s:
            self._settle()
            time.sleep(SETTLE_S)
        while self._waiting:
            self._waiting.popleft().settled(False)
        if self._left:
            self._context.count(UNACCEPTED, self._left)
            log.warning(
                "events_not_accepted",
                node=self._context.logical_node,
                events=self._left,
                reason="the channel took nothing more, and the agent stops; peers that can, send them again",
            )

    def _put_all(self, parcels: Sequence[Parcel]) -> int:
        """How many events the channel did not take before the time was over; 0 while the node runs."""
        if not parcels:
            return 0
        self._put_at_s = time.monotonic()
        left = 0
        for formed in self._source.form(parcels):
            for events in inlet.within_limits(formed):
                if events.count and (left or not self._put(self._batch(events))):
                    left += events.count
        for parcel in parcels:
            if parcel.settled is None:
                continue
            if left:
                parcel.settled(False)
            else:
                self._waiting.append(_Waiting(self._end, parcel.settled))
        cost_s = time.monotonic() - self._put_at_s
        self._linger_s = min(max(LINGER_S, LINGER_SHARE * cost_s), LINGER_S_MAX)
        return left

    def _batch(self, events: Events) -> Batch:
        return inlet.placed(events, self._stream, self._end, self._context.clock.wall_ns())

    def _put(self, batch: Batch) -> bool:
        """*Blocking* until the channel has taken it; False when it had not before the stopping feed's time was over."""
        self._metrics.read(batch.count, batch.payload_bytes)
        while True:
            try:
                if self.channel.put(batch):
                    break
                self.channel.wait_for_room(ROOM_S)
            except RetryableError as error:
                self._wait(error)
            if self._stopping.is_set() and time.monotonic() >= self._until_s:
                return False
            self._settle()
        self._end = batch.end
        if (sample := self._tap.sample) is not None:
            sample(batch)
        if self._failures:
            log.info("channel_takes_again", node=self._context.logical_node, failures=self._failures)
            self._failures = 0
        return True

    def _settle(self) -> None:
        """Tell whoever waits for it that events are safe."""
        self._safe = self.channel.accepted().get(self._stream, self._safe)
        while self._waiting and self._waiting[0].end <= self._safe:
            self._waiting.popleft().settled(True)

    def _measure(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._lag_at_s:
            self._lag_at_s = now_s + LAG_S
            self._metrics.lag_bytes(self._inlet.size_bytes + self._source.lag_bytes())
            self._metrics.filled(self.channel.fill())

    def _wait(self, error: RetryableError) -> None:
        """Until the next attempt; the first failure in a row is a change of state."""
        self._failures += 1
        self._context.count("channel_failures", 1)
        if self._failures == 1:
            log.warning(
                "channel_refuses",
                node=self._context.logical_node,
                channel=self.channel.name,
                error=str(error),
                consequence="peers wait; those that can't lose events, which are counted",
            )
        pause_s = max(backoff_s(self._failures, RETRY_S_MAX), error.retry_after_s or 0.0)
        if self._stopping.wait(pause_s):
            time.sleep(min(pause_s, ROOM_S))
