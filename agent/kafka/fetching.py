"""Messages of several partitions, fetched together, each waited for on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import structlog

from agent.kafka.astray import Astray
from agent.kafka.messages import sorted_out, take
from qanat.errors import RetryableError
from qanat.limits import MIB

log = structlog.get_logger(__name__)

# Messages at a time: of 200 bytes, two batches.
MESSAGES_MAX = 10_000

# The longest wait for so many messages, and until it is heard that one goes on elsewhere.
SLICE_S = 0.05

RETRY_S = 2.0  # after a refusal
MEASURE_S = 1.0  # how often it is looked how much there is

# What waits of all partitions before no more is fetched: some batches. Each has its part, and no less than a small batch.
WAITING_BYTES = 16 * MIB
LANE_BYTES_MIN = MIB // 4

# What Python needs for a message, beside its value.
MESSAGE_BYTES = 500

# How long all wait for a partition that is behind before no more of it alone is fetched: its collector may be away. What was
# fetched ahead of a partition that is held is fetched a second time, so those that only are slower than Kafka are waited for.
PATIENCE_S = 0.5


class Fetched(Protocol):
    """`agent.kafka.consumer.Partitions`, as far as it is used here. *Thread*: one."""

    def read_one_from(self, partition: int, offset: int) -> None: ...

    def drop(self, partition: int) -> None: ...

    def hold(self, partition: int, *, is_held: bool) -> None: ...

    def high(self, partition: int) -> int: ...

    def messages(self, count_max: int, timeout_s: float) -> list[Any]: ...

    def astray(self) -> set[int]: ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class _Lane:
    """What has come of one partition since it was sought. `is_begun`: not of what was asked for before."""

    next: int
    offset: int  # from where it was sought: after what is gone
    is_begun: bool = False
    is_held: bool = False
    waiting: deque[Any] = field(default_factory=deque)
    waiting_bytes: int = 0
    high: int = 0  # the offset that comes after all that there are

    @property
    def end(self) -> int:
        """After what has come, and what is known to be gone."""
        return max(self.offset, self.waiting[-1].offset() + 1 if self.waiting else self.next)


class Fetching:
    """*Thread*: any; `partitions` is used by one of its own, between `start` and `close`."""

    def __init__(self, topic: str, partitions: Fetched, count: Callable[[str, int], None]) -> None:
        self._topic = topic
        self._partitions = partitions
        self._count = count
        self._lanes: dict[int, _Lane] = {}
        self._woken: set[int] = set()
        self._astray = Astray()
        self._todo: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._measure_s = 0.0
        self._thread = threading.Thread(target=self._run, name="kafka")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def seek(self, partition: int, offset: int, position: int) -> None:
        """Read from `offset` on, as the next that comes after `position`."""
        with self._changed:
            lane = self._lanes[partition] = _Lane(position, offset)
            self._astray.sought(partition)
            self._todo.append(partial(self._begin, partition, lane, offset))
            self._changed.notify_all()

    def astray(self, partition: int) -> int | None:
        """The next position, if that isn't there and is to be sought again by now: with `go_on`. Else None."""
        with self._changed:
            lane = self._lanes.get(partition)
            if lane is None or not self._astray.is_due(partition, time.monotonic()):
                return None
            return lane.end

    def go_on(self, partition: int, offset: int) -> None:
        """Read from `offset` on, as the next that comes after what has come."""
        with self._changed:
            self._astray.sought(partition)
            if (lane := self._lanes.get(partition)) is not None:
                lane.is_begun, lane.offset = False, offset
                self._todo.append(partial(self._begin, partition, lane, offset))
                self._changed.notify_all()

    def drop(self, partition: int) -> None:
        """Nobody waits for it any more."""
        with self._changed:
            self._astray.came(partition)
            self._lanes.pop(partition, None)
            self._woken.discard(partition)
            self._todo.append(partial(self._end, partition))
            self._changed.notify_all()

    def left(self, partition: int) -> int:
        """How many offsets there are that `take` did not give yet, as far as known."""
        with self._changed:
            lane = self._lanes.get(partition)
            return 0 if lane is None else max(0, lane.high - lane.next)

    def wait(self, partition: int, timeout_s: float) -> None:
        """*Blocking* until there is something to `take`, `wake`, or the time is over. Raises what ended the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_due(partition), timeout_s)
            self._woken.discard(partition)
            if self._failure is not None:
                raise self._failure

    def wake(self, partition: int) -> None:
        """End a `wait`, or the next."""
        with self._changed:
            self._woken.add(partition)
            self._changed.notify_all()

    def take(self, partition: int, max_bytes: int) -> tuple[int, list[Any]]:
        """What comes next, and its first position; nothing if nothing has come."""
        with self._changed:
            lane = self._lanes.get(partition)
            if lane is None or not lane.waiting:
                return 0, []
            taken = take(lane.waiting, max_bytes)
            start, lane.next = lane.next, taken[-1].offset() + 1
            was_full = lane.waiting_bytes >= self._lane_bytes()
            lane.waiting_bytes -= _size(taken)
            if lane.is_held and lane.waiting_bytes < self._lane_bytes() // 2:
                lane.is_held = False
                self._todo.append(partial(self._partitions.hold, partition, is_held=False))
            if was_full:
                self._changed.notify_all()
            return start, taken

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _is_due(self, partition: int) -> bool:
        lane = self._lanes.get(partition)
        has_some = lane is not None and bool(lane.waiting)
        is_astray = self._astray.is_due(partition, time.monotonic())
        return has_some or is_astray or partition in self._woken or self._failure is not None

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._perform()
                if self._has_room():
                    self._came(self._fetch())
                    self._lost(self._partitions.astray())
                self._measure()
        except Exception as error:  # noqa: BLE001  # at its root: whoever waits is told
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._partitions.close()

    def _perform(self) -> None:
        """On the thread. Without the lock: the library may wait for its own threads."""
        while True:
            with self._changed:
                if not self._todo:
                    return
                call = self._todo.popleft()
            call()

    def _begin(self, partition: int, lane: _Lane, offset: int) -> None:
        if self._lanes.get(partition) is lane:  # else sought again, or dropped, and that comes next
            self._partitions.read_one_from(partition, offset)
            lane.is_begun, lane.is_held = True, False

    def _end(self, partition: int) -> None:
        if partition not in self._lanes:
            self._partitions.drop(partition)

    def _has_room(self) -> bool:
        """On the thread. *Blocking* while a reader is behind; one that stays behind is held."""
        with self._changed:
            if self._changed.wait_for(lambda: bool(self._todo) or not self._full(), PATIENCE_S):
                return not self._todo
            for partition, lane in self._full():
                lane.is_held = True
                self._todo.append(partial(self._partitions.hold, partition, is_held=True))
            return False

    def _full(self) -> list[tuple[int, _Lane]]:
        limit = self._lane_bytes()
        return [
            (number, lane)
            for number, lane in self._lanes.items()
            if not lane.is_held and lane.waiting_bytes >= limit
        ]

    def _lane_bytes(self) -> int:
        return max(LANE_BYTES_MIN, WAITING_BYTES // max(1, len(self._lanes)))

    def _fetch(self) -> list[Any]:
        try:
            return self._partitions.messages(MESSAGES_MAX, SLICE_S)
        except RetryableError as error:
            self._count("kafka_failures", 1)
            log.warning("kafka_refuses", topic=self._topic, error=str(error))
            self._closing.wait(RETRY_S)
            return []

    def _measure(self) -> None:
        if (now_s := time.monotonic()) < self._measure_s:
            return
        self._measure_s = now_s + MEASURE_S
        for partition, lane in list(self._lanes.items()):
            lane.high = self._partitions.high(partition)

    def _came(self, messages: list[Any]) -> None:
        if not messages:
            return
        with self._changed:
            nexts = {number: lane.next for number, lane in self._lanes.items() if lane.is_begun}
            for partition, wanted in sorted_out(messages, nexts):
                lane = self._lanes[partition]
                lane.waiting.extend(wanted)
                lane.waiting_bytes += _size(wanted)
                self._astray.came(partition)
            self._changed.notify_all()

    def _lost(self, partitions: set[int]) -> None:
        if not partitions:
            return
        with self._changed:
            for each in partitions:
                if (lane := self._lanes.get(each)) is not None and lane.is_begun:
                    self._astray.add(each, time.monotonic())
            self._changed.notify_all()


def _size(messages: list[Any]) -> int:
    return sum(map(len, messages)) + MESSAGE_BYTES * len(messages)
