"""`kafka("k1:9092,k2:9092", "orders")`: the messages of a topic of Apache Kafka.

Guarantee: exactly once into storage, and in the order of each partition, whichever agents of the group read it in turn. Each
partition is a stream whose positions are Kafka's offsets, and a sender of its own: whoever the brokers give it to goes on where
storage ends, and takes it over from one that does not know yet that it has lost it. What the group has committed in Kafka is
written after that, for those who watch its lag; it is read for a partition of which storage has nothing.

    orders : kafka("k1:9092,k2:9092", "orders", group="qanat") | agentE2EChain("c1", "c2") ;

A group is joined at level E2E without a channel. Else, and with `partitions="0-5,8"` or `member="2/3"` (the second of three
agents), no broker is asked: the agent reads those, or all, under its own name, and while it is down they wait for it. Then a
partition that a changed flow moves to another agent begins there as `start` says: what was stored is stored again, or what waits
is left out.

Value, key and headers are `body`, `key` and an attribute each; the message's time is the event's. Aborted transactions are left
out. What Kafka has deleted before it was read is counted (`offsets_gone`). Needs the extra `kafka`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

import msgspec
import structlog

from agent.dealer import Dealer, DealtSource
from agent.kafka.astray import Astray
from agent.kafka.messages import Messages, first_offset, sorted_out, stream_name, take
from agent.kafka.partitions import chosen
from qanat import limits
from qanat.batch import Batch
from qanat.component import Context, StreamEvent, StreamFound, Wrong
from qanat.config import Bytes
from qanat.errors import ConfigError, RetryableError

log = structlog.get_logger(__name__)

# Messages at a time: of 200 bytes, two batches.
MESSAGES_MAX = 10_000

# The longest wait of a `poll` without looking whether it was woken, and for so many messages.
SLICE_S = 0.05

LOOK_S = (
    5.0  # how often new partitions are looked for, and whether the topic is the same: see `agent.kafka.group`
)
RETRY_S = 2.0  # after an answer that did not come, and between two looks at a topic that is in doubt
SHOW_S = 1.0  # how often the group's offsets are written


class KafkaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `kafka(...)` accepts."""

    brokers: str  # `host:port` of some of them, separated by commas
    topic: str
    group: str = "qanat"  # whose agents share the topic, and whose offsets are written, for others to see
    partitions: str = ""  # `0-3,7`: these, whatever the group says
    member: str = ""  # `2/3`: the second of three agents, which read a third each, whatever the group says
    start: Literal["beginning", "end"] = "beginning"  # of partitions that storage and group don't know yet
    properties: str = ""  # librdkafka's, as `security.protocol=ssl,ssl.ca.location=/etc/ca.pem`
    event_bytes: Bytes = limits.EVENT_BYTES_MAX  # larger values are cut, and counted


class Kafka(DealtSource):
    """A stream for each partition, read by this agent alone; `dealer` for what is dealt out."""

    name: ClassVar[str] = "kafka"
    Config: ClassVar[type[msgspec.Struct]] = KafkaConfig

    @classmethod
    def check(cls, config: KafkaConfig) -> Iterable[Wrong]:
        """See Component.check."""
        for argument in ("brokers", "topic", "group"):
            if not getattr(config, argument).strip():
                yield Wrong(argument, "it is empty")
        for argument in ("partitions", "member"):
            try:
                chosen(**{"partitions": "", "member": "", argument: getattr(config, argument)})
            except ValueError as error:
                yield Wrong(argument, str(error))
        try:
            _properties(config.properties)
        except ValueError as error:
            yield Wrong("properties", str(error), conceals=True)
        if not 1 <= config.event_bytes <= limits.EVENT_BYTES_MAX:
            yield Wrong("event_bytes", f"it must be from 1 to {limits.EVENT_BYTES_MAX}")

    def __init__(self, config: KafkaConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._is_mine = chosen(config.partitions, config.member)
        self._consumer: Any = None
        self._identity = ""
        self._known: dict[str, int] = {}  # partitions by stream
        self._next: dict[int, int] = {}  # offsets, of those that are read
        self._came: dict[int, deque[Any]] = {}
        self._from: dict[int, int] = {}  # offsets that were sought: after what is gone
        self._astray = Astray()
        self._acked: dict[int, int] = {}
        self._shown_s = 0.0
        self._look_s = self._looked_s = 0.0
        self._is_first = True
        self._woken = threading.Event()
        self._messages = Messages(config.topic, config.event_bytes, context)

    def dealer(self) -> Dealer | None:
        """See DealtSource."""
        config = self._config
        if config.partitions.strip() or config.member.strip():
            return None
        from agent.kafka.group import Group, Membership

        node = self.context.logical_node
        _, another, number = node.rpartition(
            "#"
        )  # a further destination: a group of its own, that has all of it, too
        membership = Membership(
            config.topic,
            config.group + another + (number if another else ""),
            f"{self.context.physical_node}/{node}",
            {**_properties(config.properties), "bootstrap.servers": config.brokers},
            config.event_bytes,
            config.start == "end",
        )
        return Group(membership, self.context)

    def open(self) -> None:
        """Raises ConfigError."""
        try:
            from agent.kafka.consumer import Partitions
        except ImportError as error:
            raise ConfigError(
                f"kafka needs confluent-kafka: install qanat with the extra kafka. {error}"
            ) from error
        settings = {"bootstrap.servers": self._config.brokers, "group.id": self._config.group}
        self._consumer = Partitions(self._config.topic, {**_properties(self._config.properties), **settings})

    def recover(self, known: Mapping[str, int]) -> None:
        """Nothing: a partition's stream has the name of topic and partition, whoever looks."""

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """See Source.poll."""
        until_s = time.monotonic() + timeout_s
        while True:
            if time.monotonic() >= self._due_s() and (news := self._look()):
                return news
            if self._next and not any(self._came.values()):
                self._fetch(min(SLICE_S, max(0.0, until_s - time.monotonic())))
            if any(self._came.values()) or time.monotonic() >= until_s or self._woken.is_set():
                self._woken.clear()
                return []
            if not self._next:
                self._woken.wait(min(RETRY_S, max(0.0, until_s - time.monotonic())))

    def seek(self, stream: str, position: int) -> None:
        """See Source.seek."""
        partition = self._known[stream]
        offset = first_offset(self._consumer, stream, partition, position, self.context)
        self._next[partition], self._from[partition] = position, offset
        self._came.clear()
        self._read_on()

    def read(self, max_bytes: int) -> Batch | None:
        """Messages of the partition whose turn it is."""
        if not any(self._came.values()):
            if not self._next:
                return None
            self._fetch(0.0)
        for partition in list(self._came):
            waiting = self._came.pop(partition)
            if not waiting:
                continue
            batch = self._batch(partition, waiting, max_bytes)
            if waiting:
                self._came[partition] = waiting  # behind the others
            return batch
        return None

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Written for the group, now and then."""
        self._acked |= {self._known[stream]: at for stream, at in positions.items() if stream in self._known}
        if time.monotonic() - self._shown_s >= SHOW_S:
            self._show()

    def save(self) -> None:
        """Nothing: what is stored is known downstream."""

    def wake(self) -> None:
        """See Source.wake."""
        self._woken.set()

    def lag_bytes(self) -> int:
        """As many messages as there are, of the size that they had so far."""
        events = sum(max(0, self._consumer.high(partition) - at) for partition, at in self._next.items())
        return int(events * self._messages.message_bytes)

    def close(self) -> None:
        """Leave Kafka."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            if self._acked:
                consumer.show(self._acked, self._identity)
            consumer.close()

    def _due_s(self) -> float:
        """When to look."""
        is_doubted = self._consumer.doubted.is_set()
        return min(self._look_s, self._looked_s + RETRY_S) if is_doubted else self._look_s

    def _look(self) -> list[StreamEvent]:
        """Partitions that are new."""
        self._consumer.doubted.clear()
        self._looked_s = time.monotonic()
        try:
            topic = self._consumer.topic()
            identity = topic.identity
            if self._identity and identity != self._identity:
                log.warning(
                    "kafka_topic_is_another", topic=self._config.topic, before=self._identity, now=identity
                )
                self._known, self._next, self._came, self._acked = {}, {}, {}, {}
                self._from, self._astray = {}, Astray()
                self._consumer.read_from({})
            found: list[StreamEvent] = []
            known = set(self._known.values())
            names: dict[str, int] = {}
            for partition in topic.partitions:
                if not self._is_mine(partition) or partition in known:
                    continue
                low, high = self._consumer.bounds(partition)
                at_end = self._is_first and self._config.start == "end"
                stream = stream_name(self._config.topic, identity, partition)
                names[stream] = partition
                found.append(StreamFound(stream, high if at_end else low))
        except RetryableError as error:
            self.context.count("kafka_failures", 1)
            log.warning("kafka_not_answering", topic=self._config.topic, error=str(error))
            self._look_s = time.monotonic() + RETRY_S
            return []
        self._identity, self._is_first = identity, False
        self._known |= names
        self._look_s = time.monotonic() + LOOK_S
        return found

    def _read_on(self) -> None:
        """Of each, what comes after what has come, and after what is gone."""
        for partition in self._next:
            self._astray.sought(partition)
        self._consumer.read_from({each: self._end(each) for each in self._next})

    def _end(self, partition: int) -> int:
        waiting = self._came.get(partition)
        return max(self._from[partition], waiting[-1].offset() + 1 if waiting else self._next[partition])

    def _seek_again(self) -> None:
        """What brokers say isn't there: retention was faster, or Kafka has forgotten it."""
        now_s = time.monotonic()
        for partition in self._consumer.astray():
            self._astray.add(partition, now_s)
        due = [each for each in self._astray.due(now_s) if each in self._next]
        for each in due:
            stream = stream_name(self._config.topic, self._identity, each)
            self._from[each] = first_offset(self._consumer, stream, each, self._end(each), self.context)
        if due:
            self._read_on()

    def _fetch(self, timeout_s: float) -> None:
        self._seek_again()
        try:
            messages = self._consumer.messages(MESSAGES_MAX, timeout_s)
        except RetryableError as error:
            self.context.count("kafka_failures", 1)
            log.warning("kafka_refuses", topic=self._config.topic, error=str(error))
            self._woken.wait(RETRY_S)
            return
        for partition, wanted in sorted_out(messages, self._next):
            self._astray.came(partition)
            self._came.setdefault(partition, deque()).extend(wanted)

    def _batch(self, partition: int, waiting: deque[Any], max_bytes: int) -> Batch:
        """Takes from `waiting`."""
        taken = take(waiting, max_bytes)
        start, self._next[partition] = self._next[partition], taken[-1].offset() + 1
        stream = stream_name(self._config.topic, self._identity, partition)
        return self._messages.batch(stream, partition, start, taken)

    def _show(self) -> None:
        self._shown_s = time.monotonic()
        self._consumer.show(self._acked, self._identity)
        self._acked = {}


def _properties(text: str) -> dict[str, str]:
    """Raises ValueError."""
    made: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise ValueError("it must be name=value,name=value")
        made[name.strip()] = value.strip()
    return made
