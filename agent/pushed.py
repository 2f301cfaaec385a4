"""Feeds a channel from a live source: takes parcels from its inlet, has them formed into batches, and says what is safe.

The counterpart of `agent.feed`, with the same life. The events of one process are one stream, numbered from 0; those of earlier
processes are over. Where peers number their events themselves each has a stream of its own, which lasts: the channel remembers
how far it has it, so that what a peer repeats is taken once, whoever died meanwhile.

What a channel refuses is offered again; meanwhile the inlet fills, and the source makes its peers wait.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import structlog

from agent.refusals import Refusals
from qanat import inlet, limits
from qanat.batch import Batch
from qanat.component import Channel, Context, Cursor, Events, LiveSource, Parcel
from qanat.control.sampling import TapPoint
from qanat.errors import RetryableError
from qanat.inlet import BoundedInlet
from qanat.metrics import AgentMetrics

log = structlog.get_logger(__name__)

# Of the streams that live sources have in a channel; the rest of a name is new with each process.
STREAM_PREFIX = "live#"

# Of those whose events their peers number.
NUMBERED_PREFIX = f"{STREAM_PREFIX}of#"

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
        self._ends: dict[str, int] = {self._stream: 0}
        self._safe: dict[str, int] = {self._stream: 0}
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._is_started = False
        self._refusals = Refusals(
            channel, context, "peers wait; those that can't lose events, which are counted"
        )
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
            self._recover(known)
            return True
        return False

    def _recover(self, known: Mapping[str, int]) -> None:
        """Of the streams of live sources in the channel, those go on that the source knows."""
        numbered = {
            name.removeprefix(NUMBERED_PREFIX): end
            for name, end in known.items()
            if name.startswith(NUMBERED_PREFIX)
        }
        kept = {NUMBERED_PREFIX + stream for stream in self._source.recover(numbered)}
        self._ends |= {name: known[name] for name in kept}
        self._safe |= {name: known[name] for name in kept}
        self.channel.forget([name for name in known if name.startswith(STREAM_PREFIX) and name not in kept])

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
        return all(self._safe[stream] >= end for stream, end in self._ends.items())

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
        self._settle()  # also when the time is over: who is told in vain sends again
        while self._waiting and time.monotonic() < self._until_s:
            time.sleep(SETTLE_S)
            self._settle()
        for waiting in self._waiting.values():
            for each in waiting:
                each.settled(False)
        self._waiting.clear()
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
        for stream, alike in groupby(parcels, lambda each: each.stream):
            if stream:
                left += sum([self._put_numbered(NUMBERED_PREFIX + stream, each) for each in alike])
            else:
                left += self._put_formed(list(alike))
        return left

    def _put_formed(self, parcels: Sequence[Parcel]) -> int:
        left = 0
        for formed in self._source.form(parcels):
            for events in inlet.within_limits(formed):
                if events.count and (left or not self._put(self._batch(events, self._stream))):
                    left += events.count
        for parcel in parcels:
            self._wait_for(self._stream, parcel, taken=not left)
        return left

    def _put_numbered(self, stream: str, parcel: Parcel) -> int:
        """What a peer repeats the channel has, and is not put again."""
        if parcel.content is None:
            self._forget(stream)
            return 0
        end = self._ends.setdefault(stream, parcel.start)
        self._safe.setdefault(stream, parcel.start)
        events, left = parcel.content, 0
        if parcel.start > end:  # what is before it was not taken, as the agent stops
            left = events.count
        known = min(end - parcel.start, events.count)
        if known > 0:
            events = Events(events.payload.slice(known), events.count - known, events.attributes)
        for each in inlet.within_limits(events) if not left else ():
            if each.count and (left or not self._put(self._batch(each, stream))):
                left += each.count
        self._wait_for(stream, parcel, taken=not left, end=parcel.start + parcel.content.count)
        return left

    def _forget(self, stream: str) -> None:
        """Its peer has ended it, once it was told that all is safe."""
        if stream not in self._waiting and self._ends.pop(stream, None) is not None:
            self._safe.pop(stream, None)
            self.channel.forget([stream])

    def _wait_for(self, stream: str, parcel: Parcel, *, taken: bool, end: int | None = None) -> None:
        """Tell the peer once it is safe."""
        if parcel.settled is None:
            return
        if not taken:
            parcel.settled(False)
            return
        end = self._ends[stream] if end is None else end
        self._waiting.setdefault(stream, deque()).append(_Waiting(end, parcel.settled))

    def _batch(self, events: Events, stream: str) -> Batch:
        return inlet.placed(events, stream, self._ends[stream], self._context.clock.wall_ns())

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
        self._ends[batch.stream] = batch.end
        if (sample := self._tap.sample) is not None:
            sample(batch)
        self._refusals.over()
        return True

    def _settle(self) -> None:
        """Tell whoever waits for it that events are safe."""
        for stream, end in self.channel.accepted().items():
            if stream in self._safe:
                self._safe[stream] = end
        for stream in [*self._waiting]:
            waiting, safe = self._waiting[stream], self._safe[stream]
            while waiting and waiting[0].end <= safe:
                waiting.popleft().settled(True)
            if not waiting:
                del self._waiting[stream]

    def _measure(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._lag_at_s:
            self._lag_at_s = now_s + LAG_S
            self._metrics.lag_bytes(self._inlet.size_bytes + self._source.lag_bytes())
            self._metrics.filled(self.channel.fill())

    def _wait(self, error: RetryableError) -> None:
        """Until the next attempt."""
        pause_s = self._refusals.pause_s(error)
        if self._stopping.wait(pause_s):
            time.sleep(min(pause_s, ROOM_S))
