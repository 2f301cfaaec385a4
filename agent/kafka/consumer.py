"""confluent-kafka, as much of it as a source needs: partitions, messages from an offset on, offsets for others to see, and being
a member of a group. The one file that imports it.

What is read is assigned by us, from the offset that storage has: what a member of a group is given only says whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import structlog
from confluent_kafka import (
    OFFSET_END,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # as documented

from qanat.errors import ConfigError, FencedError, RetryableError

log = structlog.get_logger(__name__)

# Answers of brokers take milliseconds; a cluster that elects takes seconds.
ANSWER_S_MAX = 10.0

REFRESH_S = 60.0  # how often a member looks for new partitions

# What librdkafka fetches ahead, for all partitions: some batches.
AHEAD_KIB = 8192

# Before a topic's identity, in what is noted with committed offsets. Other programs note what they like.
_OF = "qanat-topic:"
_BEGAN = ";partitions="  # that the topic had when the group began to read it

_FATAL = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)


# No more comes of a partition: what comes next in it isn't there. (`_LOG_TRUNCATION`: what an unclean election has cut off.)
_ASTRAY = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION)

# The topic may have been deleted, and created anew.
_DOUBTFUL = (
    *_ASTRAY,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
)


@dataclass(frozen=True, slots=True)
class Topic:
    """`identity`: another one after the topic was deleted and created anew; empty where brokers don't say."""

    identity: str
    partitions: tuple[int, ...]


class Partitions:
    """Partitions of one topic, read from where they are told. `doubted`: brokers say what they would of a topic that was deleted.

    *Thread*: one; `topic`, `cluster`, `bounds` and `doubted` any."""

    def __init__(self, topic: str, settings: Mapping[str, Any]) -> None:
        common = {"error_cb": self._failed, "logger": _SILENT, **settings}
        consuming = {
            "enable.partition.eof": False,
            "queued.max.messages.kbytes": AHEAD_KIB,
            "fetch.queue.backoff.ms": 10,
            "isolation.level": "read_committed",
        }
        ours = {
            "enable.auto.commit": False,
            "auto.offset.reset": "error",  # whoever reads seeks itself, and counts what is gone
        }
        self._topic = topic
        self._failure = ""
        self._refusal = ""
        self._reading: set[int] = set()
        self._astray: set[int] = set()
        self.doubted = threading.Event()
        try:
            self._consumer = Consumer({**consuming, **common, **ours})
            self._admin = AdminClient({key: value for key, value in common.items() if key != "group.id"})
        except KafkaException as error:
            raise ConfigError(f"kafka: {error.args[0].str()}") from error

    def topic(self) -> Topic:
        """Which partitions there are. *Blocking*. Raises RetryableError."""
        try:
            found = self._admin.describe_topics(TopicCollection([self._topic]), request_timeout=ANSWER_S_MAX)
            described = found[self._topic].result(ANSWER_S_MAX)
        except (KafkaException, TimeoutError) as error:
            raise RetryableError(f"kafka: topic {self._topic!r} can't be looked at: {_say(error)}") from error
        identity = described.topic_id
        return Topic(
            f"{identity.get_most_significant_bits() & (2**64 - 1):016x}" if identity else "",
            tuple(sorted(each.id for each in described.partitions)),
        )

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset that is there, and the one that comes next. *Blocking*. Raises RetryableError."""
        earliest, latest = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._offset(partition, earliest), self._offset(partition, latest)

    def _offset(self, partition: int, which: OffsetSpec) -> int:
        """Asked of the administrator's client: a consumer that is fetching on another thread would let this wait."""
        asked = {TopicPartition(self._topic, partition): which}
        level = IsolationLevel.READ_COMMITTED
        try:
            (found,) = self._admin.list_offsets(
                asked, isolation_level=level, request_timeout=ANSWER_S_MAX
            ).values()
            return int(found.result(ANSWER_S_MAX).offset)
        except (KafkaException, TimeoutError) as error:
            raise RetryableError(f"kafka: {self._topic} [{partition}]: {_say(error)}") from error

    def high(self, partition: int) -> int:
        """The offset that comes next, as far as known."""
        known = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return int(known[1]) if known else -1

    def read_from(self, offsets: Mapping[int, int]) -> None:
        """All of these, from there on; what was fetched of earlier ones is forgotten."""
        self._astray.clear()
        self._consumer.assign(
            [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        )

    def read_one_from(self, partition: int, offset: int) -> None:
        """As `read_from`, and the others go on as they are."""
        self.drop(partition)
        self._consumer.incremental_assign([TopicPartition(self._topic, partition, offset)])
        self._consumer.resume(
            [TopicPartition(self._topic, partition)]
        )  # a partition stays paused when it is assigned anew
        self._reading.add(partition)
        self._astray.discard(partition)

    def drop(self, partition: int) -> None:
        """Read no more of it."""
        if partition in self._reading:
            self._reading.discard(partition)
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])

    def hold(self, partition: int, *, is_held: bool) -> None:
        """Fetch nothing of it for now, or again."""
        if partition in self._reading:
            change = self._consumer.pause if is_held else self._consumer.resume
            change([TopicPartition(self._topic, partition)])

    def cluster(self) -> str:
        """Which Kafka this is. *Blocking*. Raises RetryableError."""
        try:
            return str(self._admin.list_topics(self._topic, ANSWER_S_MAX).cluster_id or "")
        except KafkaException as error:
            raise RetryableError(f"kafka: the cluster can't be looked at: {_say(error)}") from error

    def messages(self, count_max: int, timeout_s: float) -> list[Any]:
        """What has come. *Blocking* until there are so many, or the time is over. Raises RetryableError, after what had come with
        the refusal was returned: it does not come again."""
        refusal, self._refusal = self._refusal, ""
        if refusal:
            raise RetryableError(f"kafka: {self._topic}: {refusal}", retry_after_s=ANSWER_S_MAX)
        came: list[Any] = self._consumer.consume(count_max, timeout_s)
        errors = [*map(methodcaller("error"), came)]
        if {*map(type, errors)} <= {type(None)}:
            return came
        for message, error in zip(came, errors, strict=True):
            if error is not None:
                self._heard(error, message.partition())
        return [message for message, error in zip(came, errors, strict=True) if error is None]

    def _heard(self, error: KafkaError, partition: int | None) -> None:
        if error.code() in _FATAL:
            self._refusal = error.str()
        if error.code() in _DOUBTFUL:
            self.doubted.set()
        if error.code() in _ASTRAY and partition is not None:
            self._astray.add(partition)

    def astray(self) -> set[int]:
        """Those of which nothing comes, before they are read from elsewhere: their next offset isn't there. Each is said once."""
        found, self._astray = self._astray, set()
        return found

    def show(self, offsets: Mapping[int, int], identity: str) -> None:
        """Commit them for the group: for those who look at it, or read as a group from now on. See Member.commit."""
        made = _noted(self._topic, offsets, identity)
        try:
            self._consumer.commit(offsets=made, asynchronous=True)
        except KafkaException as error:
            log.debug("kafka_offsets_not_shown", topic=self._topic, error=_say(error))

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    def _failed(self, error: KafkaError) -> None:
        """On the consumer's thread. It goes on by itself; what changes is said once."""
        if (text := error.name()) != self._failure:
            self._failure = text
            log.warning("kafka_away", topic=self._topic, error=error.str())


class Member:
    """One of a group that brokers deal the partitions of a topic out to. It fetches nothing.

    `given(partitions)` and `taken(partitions)` are called by `turn` and `close`. Of what is taken the next member gets nothing
    before `taken` has returned, unless it is `lost`: then it has it already. `instance`: a member that comes back under it
    within the session's time is given what it had.

    *Thread*: one."""

    def __init__(
        self,
        topic: str,
        settings: Mapping[str, Any],
        instance: str,
        given: Callable[[Sequence[int]], None],
        taken: Callable[[Sequence[int], bool], None],
    ) -> None:
        self._topic = topic
        self._given, self._taken = given, taken
        self._failure = ""
        joining = {
            "group.instance.id": instance,
            "topic.metadata.refresh.interval.ms": int(REFRESH_S * 1000),  # finds new partitions
            "error_cb": lambda error: None,  # the consumer that reads says the same
            "logger": _SILENT,
            **settings,
            "partition.assignment.strategy": "cooperative-sticky",  # what stays goes on meanwhile
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
        }
        try:
            self._consumer = Consumer(joining)
            self._consumer.subscribe(
                [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise ConfigError(f"kafka: {error.args[0].str()}") from error

    def turn(self, timeout_s: float) -> None:
        """Hear what brokers say. *Blocking*. Raises FencedError when a later process has this one's `instance`."""
        message = self._consumer.poll(timeout_s)
        error = None if message is None else message.error()
        if error is None:
            return
        if error.code() == KafkaError._FATAL:
            raise FencedError(
                f"kafka: {error.str()}. A later process is this member of the group: give each agent a name of its own."
            )
        if (text := error.name()) != self._failure:
            self._failure = text
            log.warning("kafka_group_refuses", topic=self._topic, error=error.str())

    def committed(self, partition: int, identity: str) -> int | None:
        """Where the group is, as Kafka knows it; None also when that was said of another topic of this name. *Blocking*. Raises
        RetryableError."""
        try:
            (found,) = self._committed([partition])
        except KafkaException as error:
            raise RetryableError(f"kafka: {self._topic} [{partition}]: {_say(error)}") from error
        of, _ = _note(found)
        return None if found.offset < 0 or of not in ("", identity) else int(found.offset)

    def began(self, partitions: Sequence[int], identity: str) -> int | None:
        """How many partitions the topic had when the group began to read it, by what is noted with any of them: 0 when it began
        with a former topic of this name; None when it did not begin yet, or noted nothing. *Blocking*. Raises RetryableError."""
        try:
            notes = [_note(each) for each in self._committed(partitions) if each.offset >= 0]
        except KafkaException as error:
            raise RetryableError(f"kafka: {self._topic}: {_say(error)}") from error
        counts = [count for of, count in notes if count is not None and of in ("", identity)]
        if counts:
            return min(counts)
        return 0 if any(of not in ("", identity) for of, _ in notes) else None

    def _committed(self, partitions: Sequence[int]) -> list[TopicPartition]:
        asked = [TopicPartition(self._topic, each) for each in partitions]
        found: list[TopicPartition] = self._consumer.committed(asked, ANSWER_S_MAX)
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return found

    def commit(
        self, offsets: Mapping[int, int], identity: str, began: int | None = None, *, wait: bool = False
    ) -> None:
        """For those who look at the group, and for a partition of which storage has nothing. It is noted of which topic they are:
        Kafka knows offsets by the topic's name alone; and what `began` is to say from now on. Raises RetryableError if it should
        `wait`: *blocking* then."""
        made = _noted(self._topic, offsets, identity, began)
        try:
            if wait:
                self._consumer.commit(offsets=made, asynchronous=False)
            else:
                self._consumer.commit(offsets=made, asynchronous=True)
        except KafkaException as error:
            if wait:
                raise RetryableError(f"kafka: {self._topic}: offsets not committed: {_say(error)}") from error
            log.debug("kafka_offsets_not_shown", topic=self._topic, error=_say(error))

    def close(self) -> None:
        """What it has is taken; `instance` may come back for it within the session's time."""
        self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._failure = ""
        consumer.incremental_assign(
            [TopicPartition(each.topic, each.partition, OFFSET_END) for each in partitions]
        )
        consumer.pause(partitions)
        self._given([each.partition for each in partitions])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._taken([each.partition for each in partitions], False)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._taken([each.partition for each in partitions], True)
        consumer.incremental_unassign(partitions)


def _noted(
    topic: str, offsets: Mapping[int, int], identity: str, began: int | None = None
) -> list[TopicPartition]:
    note = _OF + identity if identity or began is not None else ""
    if began is not None:
        note += f"{_BEGAN}{began}"
    return [TopicPartition(topic, partition, offset, note) for partition, offset in offsets.items()]


def _note(committed: TopicPartition) -> tuple[str, int | None]:
    """The identity that is noted, empty for none, and the number of partitions."""
    note = committed.metadata or ""
    if not note.startswith(_OF):
        return "", None
    of, _, began = note.removeprefix(_OF).partition(_BEGAN)
    return of, int(began) if began.isdecimal() else None


def _say(error: BaseException) -> str:
    return str(error.args[0].str()) if error.args and isinstance(error.args[0], KafkaError) else repr(error)


class _Silent:
    """librdkafka's own log repeats what `error_cb` is told."""

    def log(self, *arguments: object) -> None:
        """Nothing."""


_SILENT = _Silent()
