"""What a publisher has taken and the agent has not acknowledged: events that gather, batches that wait, their numbers. [pure]"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from qanat.wire.v1 import publish_pb2 as wire

# What an event takes beside its body: three objects, and its places in lists.
EVENT_OVERHEAD_BYTES = 200


@dataclass(frozen=True, slots=True)
class Sealed:
    """A message with the events `[start, end)`."""

    start: int
    end: int
    message: wire.FromProducer
    size_bytes: int


class Outbox:
    """*Thread*: its owner's lock."""

    def __init__(self, batch_events: int, batch_bytes: int) -> None:
        self._batch_events = batch_events
        self._batch_bytes = batch_bytes
        self._bodies: list[bytes] = []
        self._times: list[int] = []
        self._attributes: list[Mapping[str, str]] = []
        self._gathered_bytes = 0
        self.batches: deque[Sealed] = deque()
        self.size_bytes = 0
        self.sealed = 0  # the number behind the last event of a batch
        self.acked = 0

    @property
    def end(self) -> int:
        """The number of the next event."""
        return self.sealed + len(self._bodies)

    @property
    def gathered(self) -> int:
        """Events that are in no batch yet."""
        return len(self._bodies)

    def add(self, body: bytes, timestamp_ns: int, attributes: Mapping[str, str]) -> None:
        """The next event."""
        size_bytes = cost_bytes(body, attributes)
        if self._bodies and self._gathered_bytes + size_bytes > self._batch_bytes:
            self.seal()
        self._bodies.append(body)
        self._times.append(timestamp_ns)
        self._attributes.append(attributes)
        self._gathered_bytes += size_bytes
        self.size_bytes += size_bytes
        if len(self._bodies) >= self._batch_events:
            self.seal()

    def seal(self) -> None:
        """What has gathered is a batch."""
        if not self._bodies:
            return
        events = wire.Events(start=self.sealed, body=self._bodies, timestamp_ns=self._times)
        for name in dict.fromkeys(name for each in self._attributes for name in each):
            events.columns.add(name=name, value=[each.get(name, "") for each in self._attributes])
        end = self.end
        self.batches.append(Sealed(self.sealed, end, wire.FromProducer(events=events), self._gathered_bytes))
        self.sealed = end
        self._bodies, self._times, self._attributes, self._gathered_bytes = [], [], [], 0

    def acknowledge(self, number: int) -> None:
        """All events before it are safe."""
        self.acked = max(self.acked, min(number, self.sealed))
        while self.batches and self.batches[0].end <= self.acked:
            self.size_bytes -= self.batches.popleft().size_bytes

    def after(self, number: int) -> Sealed | None:
        """The first batch that has this event or a later one."""
        return next((each for each in self.batches if each.end > number), None)


def cost_bytes(body: bytes, attributes: Mapping[str, str]) -> int:
    """What an event counts."""
    return (
        len(body) + EVENT_OVERHEAD_BYTES + sum(len(name) + len(value) for name, value in attributes.items())
    )
