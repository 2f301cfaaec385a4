"""What both ways to read partitions share: where to begin, and messages as batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, groupby, repeat, starmap, takewhile
from operator import methodcaller
from typing import Any, Protocol

import structlog

from qanat.batch import Batch, PayloadForm
from qanat.component import Context
from qanat.errors import RetryableError

log = structlog.get_logger(__name__)

# What is assumed of a message before the first has come.
MESSAGE_BYTES = 200

_PARTITION, _OFFSET = methodcaller("partition"), methodcaller("offset")


class Bounded(Protocol):
    """Knows what there is."""

    def bounds(self, partition: int) -> tuple[int, int]:
        """See `agent.kafka.consumer.Partitions.bounds`."""


def stream_name(topic: str, identity: str, partition: int) -> str:
    """The same for whoever reads the partition."""
    return f"kafka:{topic}:{identity}:{partition}"


def first_offset(bounded: Bounded, stream: str, partition: int, position: int, context: Context) -> int:
    """Where to read from in order to go on at `position`. What is not there any more is counted."""
    try:
        low, high = bounded.bounds(partition)
    except RetryableError:
        return position  # it is found out by reading
    if low > position:
        context.count("offsets_gone", low - position)
        log.warning("kafka_offsets_gone", stream=stream, first=position, count=low - position)
    if high < position:
        log.error(
            "kafka_offsets_missing",
            stream=stream,
            stored=position,
            end=high,
            why="Kafka lost what it had given; the stream goes on when its offsets are beyond what is stored",
        )
    # From its end on, rather than from its beginning, where offsets are missing.
    return max(position, low)


@dataclass(slots=True)
class Messages:
    """Makes batches of messages. `message_bytes`: of one, so far."""

    topic: str
    event_bytes: int
    context: Context
    message_bytes: float = MESSAGE_BYTES

    def batch(self, stream: str, partition: int, start: int, taken: list[Any]) -> Batch:
        """From `start` to the last of `taken`. Offsets that nobody has (compaction, transactions) are covered, too."""
        from agent.kafka.columns import columns_of

        size_bytes = sum(map(len, taken))
        self.message_bytes += (size_bytes / len(taken) - self.message_bytes) / 8
        return Batch(
            stream,
            start,
            taken[-1].offset() + 1,
            len(taken),
            PayloadForm.COLUMNS,
            columns_of(taken, self.event_bytes, self.context.count),
            self.context.clock.wall_ns(),
            {"host": self.context.host, "topic": self.topic, "partition": str(partition)},
        )


def take(waiting: deque[Any], max_bytes: int) -> list[Any]:
    """The first of them, and as many more as fit."""
    fits = takewhile(max_bytes.__ge__, accumulate(map(len, waiting)))
    return [*starmap(waiting.popleft, repeat((), max(1, len([*fits]))))]


def sorted_out(messages: list[Any], nexts: Mapping[int, int]) -> Iterator[tuple[int, list[Any]]]:
    """Those from the offset on that is wanted next of their partition, by partition, as they came."""
    for partition, alike in groupby(messages, _PARTITION):
        run, wanted = [*alike], nexts.get(partition)
        if wanted is None:
            continue
        if min(map(_OFFSET, run)) < wanted:
            run = [each for each in run if each.offset() >= wanted]
        if run:
            yield partition, run
