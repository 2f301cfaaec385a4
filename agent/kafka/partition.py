"""One partition that this agent was dealt, as a source of one stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.kafka.fetching import Fetching
from agent.kafka.messages import Messages, first_offset
from qanat.batch import Batch
from qanat.component import Context, Source, StreamEvent, StreamFound

if TYPE_CHECKING:
    from agent.kafka.consumer import Partitions
    from agent.kafka.group import Membership


class _PartitionConfig(msgspec.Struct, frozen=True):
    """No flow names it."""


class Partition(Source):
    """`first`: where it begins if storage has nothing of it. `acked(partition, position)`: is told, on the source's thread."""

    name: ClassVar[str] = "kafka"
    Config: ClassVar[type[msgspec.Struct]] = _PartitionConfig

    def __init__(
        self,
        stream: str,
        first: int,
        partition: int,
        of: Membership,
        context: Context,
        partitions: Partitions,
        fetching: Fetching,
        acked: Callable[[int, int], None],
    ) -> None:
        super().__init__(_PartitionConfig(), context)
        self._stream = stream
        self._first = first
        self._partition = partition
        self._of = of
        self._partitions, self._fetching = partitions, fetching
        self._acked = acked
        self._messages = Messages(of.topic, of.event_bytes, context)
        self._is_found = False

    def open(self) -> None:
        """Nothing: its dealer is."""

    def recover(self, known: Mapping[str, int]) -> None:
        """Nothing: its name is the same for whoever has it."""

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """See Source.poll."""
        if not self._is_found:
            self._is_found = True
            return [StreamFound(self._stream, self._first)]
        self._fetching.wait(self._partition, timeout_s)
        if (position := self._fetching.astray(self._partition)) is not None:
            self._fetching.go_on(self._partition, self._offset(position))
        return []

    def seek(self, stream: str, position: int) -> None:
        """See Source.seek."""
        self._fetching.seek(self._partition, self._offset(position), position)

    def _offset(self, position: int) -> int:
        return first_offset(self._partitions, self._stream, self._partition, position, self.context)

    def read(self, max_bytes: int) -> Batch | None:
        """What has come."""
        start, taken = self._fetching.take(self._partition, max_bytes)
        return self._messages.batch(self._stream, self._partition, start, taken) if taken else None

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """The group is told, now and then."""
        if (position := positions.get(self._stream)) is not None:
            self._acked(self._partition, position)

    def save(self) -> None:
        """Nothing: what is stored is known downstream."""

    def wake(self) -> None:
        """See Source.wake."""
        self._fetching.wake(self._partition)

    def lag_bytes(self) -> int:
        """As many messages as there are, of the size that they had so far."""
        return int(self._fetching.left(self._partition) * self._messages.message_bytes)

    def close(self) -> None:
        """Read no more."""
        self._fetching.drop(self._partition)
