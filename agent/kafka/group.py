"""A topic that brokers deal out to the agents of a group: each partition is a share."""

from __future__ import annotations

import random
import re
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog

from agent.dealer import Dealer, Share, Table
from agent.kafka.fetching import Fetching
from agent.kafka.messages import stream_name
from agent.kafka.partition import Partition
from qanat.component import Context, Source
from qanat.errors import RetryableError

if TYPE_CHECKING:
    from agent.kafka.consumer import Member, Partitions, Topic

log = structlog.get_logger(__name__)

TURN_S = 0.2  # how long a turn listens
RETRY_S = 2.0  # after an answer that did not come, and between two looks at a topic that is in doubt

# How often it is looked whether the topic is still the same. What is read of another one of its name before that is noticed, from
# where the former ended, is read twice; a look is two small questions to brokers.
LOOK_S = 5.0

SHOW_S = 1.0  # how often the group's offsets are written

# Brokers hear nothing of this member meanwhile but its heartbeats. Two that don't answer take so long.
ASK_S_MAX = 20.0

# Kafka takes 249 characters for the name of a member.
_NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class Membership:
    """`member`: who we are in the group, for as long as it is served under this name. `at_end`: where partitions begin that
    neither storage nor the group knows."""

    topic: str
    group: str
    member: str
    settings: Mapping[str, Any]
    event_bytes: int
    at_end: bool


class Group(Dealer):
    """See Dealer."""

    def __init__(self, membership: Membership, context: Context) -> None:
        self._of = membership
        self._context = context
        self._member: Member | None = None
        self._partitions: Partitions | None = None
        self._fetching: Fetching | None = None
        self._table: Table | None = None
        self._identity: tuple[str, str] | None = None  # of cluster and topic, when partitions were dealt
        self._began: int | None = None  # how many partitions there were when the group began; if `at_end`
        self._owned: set[int] = set()
        self._dealt: dict[int, Share] = {}
        self._streams: dict[Share, tuple[str, int]] = {}  # and where they begin that storage has nothing of
        self._acked: dict[int, int] = {}
        self._lock = threading.Lock()  # around what was acked
        self._look_s = self._show_s = 0.0  # when that is due
        self._looked_s = 0.0

    def open(self) -> None:
        """See Dealer."""
        from agent.kafka.consumer import Partitions

        settings = {name: value for name, value in self._of.settings.items() if name != "group.instance.id"}
        self._partitions = Partitions(self._of.topic, {**settings, "group.id": self._of.group})
        self._fetching = Fetching(self._of.topic, self._partitions, self._context.count)
        self._fetching.start()

    def turn(self, table: Table) -> None:
        """See Dealer."""
        self._table = table
        if self._member is None:
            self._join()
        assert self._member is not None
        assert self._partitions is not None, "it was opened"
        self._member.turn(TURN_S)
        now_s = time.monotonic()
        if self._owned and now_s >= self._due_s():
            self._partitions.doubted.clear()
            self._looked_s = now_s
            self._look_s = now_s + (LOOK_S if self._look(table) else RETRY_S)
        if now_s >= self._show_s:
            self._show_s = now_s + SHOW_S
            self._show(self._owned, wait=False)

    def _due_s(self) -> float:
        """When to look."""
        assert self._partitions is not None, "it was opened"
        is_doubted = self._partitions.doubted.is_set()
        return min(self._look_s, self._looked_s + RETRY_S) if is_doubted else self._look_s

    def source(self, share: Share) -> Source:
        """See Dealer."""
        assert self._partitions is not None, "it was opened"
        assert self._fetching is not None, "it is not closed"
        stream, first = self._streams[share]
        return Partition(
            stream,
            first,
            share.number,
            self._of,
            self._context,
            self._partitions,
            self._fetching,
            self._was_acked,
        )

    def close(self) -> None:
        """See Dealer."""
        if self._member is not None:
            self._member.close()  # it is told that all is taken, and what was acked is written
            self._member = None
        if self._fetching is not None:
            self._fetching.close()
            self._fetching = None

    def _join(self) -> None:
        from agent.kafka.consumer import Member

        self._member = Member(
            self._of.topic,
            {**self._of.settings, "group.id": self._of.group},
            member_name(self._of.member),
            self._on_given,
            self._on_taken,
        )

    def _on_given(self, partitions: Sequence[int]) -> None:
        self._owned.update(partitions)
        self._look_s = 0.0

    def _on_taken(self, partitions: Sequence[int], is_lost: bool) -> None:
        self._owned.difference_update(partitions)
        self._take([each for each in partitions if each in self._dealt], is_lost=is_lost)
        if not is_lost:
            self._show(partitions, wait=True)
        with self._lock:
            for each in partitions:
                self._acked.pop(each, None)

    def _take(self, partitions: Iterable[int], *, is_lost: bool) -> None:
        assert self._table is not None, "nothing was dealt before the first turn"
        shares = [self._dealt.pop(each) for each in partitions]
        if shares:
            self._table.take(shares, is_lost=is_lost)
        for share in shares:
            self._streams.pop(share, None)

    def _look(self, table: Table) -> bool:
        """Deal what was not dealt yet, under names that say which topic it is of. False when brokers did not answer, even of one
        partition: the others are dealt."""
        assert self._partitions is not None, "it was opened"
        try:
            topic = self._partitions.topic()
            identity = (self._partitions.cluster(), topic.identity)
            if identity != self._identity:
                self._begin_anew(identity)
            if self._of.at_end and self._began is None:
                self._began = self._count_at_first(topic)
        except RetryableError as error:
            self._not_answered(error)
            return False
        first = self._first_of(self._owned - self._dealt.keys(), identity[1])
        new = {each: self._share(each, *identity) for each in sorted(first)}
        for each, share in new.items():
            self._streams[share] = (stream_name(self._of.topic, identity[1], each), first[each])
        self._dealt |= new
        if new:
            table.give(list(new.values()))
        return not self._owned - self._dealt.keys()

    def _begin_anew(self, identity: tuple[str, str]) -> None:
        """Offsets of another topic of this name say nothing about this one. The claims of the former's streams are released:
        nobody else would take them over from the collectors that keep their positions."""
        if self._dealt:
            log.warning("kafka_topic_is_another", topic=self._of.topic, before=self._identity, now=identity)
            self._take(list(self._dealt), is_lost=False)
        if self._identity is not None:
            self._began = 0  # with the former topic
        with self._lock:
            self._acked.clear()
        self._identity = identity

    def _count_at_first(self, topic: Topic) -> int:
        """Partitions from this number on were added since: nothing of them is too old. Raises RetryableError."""
        assert self._member is not None, "it has joined"
        noted = self._member.began(topic.partitions, topic.identity)
        return len(topic.partitions) if noted is None else noted

    def _first_of(self, partitions: set[int], identity: str) -> dict[int, int]:
        """Of each that brokers say something about: one whose servers are down must not keep the others from being read. In no
        order, so that none of those is always behind too many of these."""
        first: dict[int, int] = {}
        until_s = time.monotonic() + ASK_S_MAX
        for each in random.sample(sorted(partitions), len(partitions)):
            try:
                first[each] = self._first(each, identity)
            except RetryableError as error:
                self._not_answered(error)
                if time.monotonic() >= until_s:
                    break
        return first

    def _not_answered(self, error: RetryableError) -> None:
        self._context.count("kafka_failures", 1)
        log.warning("kafka_not_answering", topic=self._of.topic, error=str(error))

    def _first(self, partition: int, identity: str) -> int:
        """Where it begins if storage has nothing of it: where the group is, or as configured; one that was added later at its
        beginning, since what came before it was found is wanted. Raises RetryableError.

        Where that is the end, the group remembers it before anything is read: whoever has the partition next, before anything
        of it was stored, must not begin at a later end."""
        assert self._partitions is not None, "it was opened"
        assert self._member is not None, "it has joined"
        low, high = self._partitions.bounds(partition)
        known = self._member.committed(partition, identity)
        if known is not None:
            return min(known, high)
        if not self._of.at_end or (self._began is not None and partition >= self._began):
            return low
        self._member.commit({partition: high}, identity, self._began, wait=True)
        return high

    def _share(self, partition: int, cluster: str, identity: str) -> Share:
        """All that makes the partition what it is, is in the sender's name: a topic that was deleted and created anew is another,
        and so is one of that name elsewhere."""
        parts = ("kafka", cluster, self._of.group, f"{self._of.topic}:{identity}", str(partition))
        sender = "/".join(quote(part, safe=":") for part in parts)
        return Share(sender, f"{self._of.topic} [{partition}]", partition)

    def _was_acked(self, partition: int, position: int) -> None:
        with self._lock:
            self._acked[partition] = position

    def _show(self, partitions: Iterable[int], *, wait: bool) -> None:
        with self._lock:
            acked = {each: self._acked.pop(each) for each in partitions if each in self._acked}
        if not acked or self._member is None or self._identity is None:
            return
        try:
            self._member.commit(acked, self._identity[1], self._began, wait=wait)
        except RetryableError as error:
            log.info("kafka_offsets_not_shown", topic=self._of.topic, error=str(error))


def member_name(text: str) -> str:
    """As Kafka allows it, and as unique as `text`."""
    return f"{re.sub(r'[^A-Za-z0-9._-]', '_', text)[:_NAME_MAX]}-{zlib.crc32(text.encode()):08x}"
