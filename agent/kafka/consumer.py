"""confluent-kafka, as much of it as a source needs: partitions, messages from an offset on, offsets for others to see. The one
file that imports it.

Partitions are assigned, never subscribed: no broker moves one to another agent behind the back of the claims that make delivery
exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from qanat.errors import ConfigError, RetryableError

log = structlog.get_logger(__name__)

# Answers of brokers take milliseconds; a cluster that elects takes seconds.
ANSWER_S_MAX = 10.0

# What librdkafka fetches ahead, for all partitions: some batches.
AHEAD_KIB = 8192

_FATAL = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
)


@dataclass(frozen=True, slots=True)
class Topic:
    """`identity`: another one after the topic was deleted and created anew; empty where brokers don't say."""

    identity: str
    partitions: tuple[int, ...]


class Partitions:
    """Partitions of one topic, read from where they are told. *Thread*: one."""

    def __init__(self, topic: str, settings: Mapping[str, Any]) -> None:
        common = {"error_cb": self._failed, "logger": _SILENT, **settings}
        consuming = {
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": False,
            "queued.max.messages.kbytes": AHEAD_KIB,
            "fetch.queue.backoff.ms": 10,
            "isolation.level": "read_committed",
        }
        self._topic = topic
        self._failure = ""
        try:
            self._consumer = Consumer({**consuming, **common})
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
        try:
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, partition), ANSWER_S_MAX
            )
        except KafkaException as error:
            raise RetryableError(f"kafka: {self._topic} [{partition}]: {_say(error)}") from error
        return int(low), int(high)

    def high(self, partition: int) -> int:
        """The offset that comes next, as far as known."""
        known = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return int(known[1]) if known else -1

    def read_from(self, offsets: Mapping[int, int]) -> None:
        """All of these, from there on; what was fetched of earlier ones is forgotten."""
        self._consumer.assign(
            [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        )

    def messages(self, count_max: int, timeout_s: float) -> list[Any]:
        """What has come. *Blocking* until there are so many, or the time is over. Raises RetryableError."""
        came = self._consumer.consume(count_max, timeout_s)
        for message in came:
            if (error := message.error()) is not None and error.code() in _FATAL:
                raise RetryableError(f"kafka: {self._topic}: {error.str()}", retry_after_s=ANSWER_S_MAX)
        return [message for message in came if message.error() is None]

    def show(self, offsets: Mapping[int, int]) -> None:
        """Commit them for the group: for those who look at it, not for us."""
        made = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
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


def _say(error: BaseException) -> str:
    return str(error.args[0].str()) if error.args and isinstance(error.args[0], KafkaError) else repr(error)


class _Silent:
    """librdkafka's own log repeats what `error_cb` is told."""

    def log(self, *arguments: object) -> None:
        """Nothing."""


_SILENT = _Silent()
