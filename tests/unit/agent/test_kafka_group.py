"""Where a partition that brokers give to an agent begins, and what is left of it for the next owner."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from agent.dealer import Share, Table
from agent.kafka import group
from agent.kafka.consumer import Member, Partitions, Topic
from agent.kafka.group import Group, Membership
from agent.sources import kafka
from agent.sources.kafka import Kafka, KafkaConfig
from qanat.errors import RetryableError
from tests.unit.agent.live import until
from tests.unit.agent.scripted import context


class Brokers:
    """What `Partitions` and `Member` say, and remember of the group: offsets and the topic that they are of."""

    def __init__(self) -> None:
        self.identity = "first"
        self.ends: dict[int, int] = {}
        self.offsets: dict[int, tuple[str, int]] = {}
        self.counts: dict[int, int | None] = {}  # of partitions, as noted with offsets
        self.down: set[int] = set()
        self.lows: dict[int, int] = {}
        self.lost: set[int] = set()
        self.doubted = threading.Event()
        self.read: dict[int, int] = {}

    def cluster(self) -> str:
        return "cluster"

    def topic(self) -> Topic:
        return Topic(self.identity, tuple(self.ends))

    def bounds(self, partition: int) -> tuple[int, int]:
        if partition in self.down:
            raise RetryableError("no leader")
        return self.lows.get(partition, 0), self.ends[partition]

    def turn(self, timeout_s: float) -> None:
        """Nothing new."""

    def committed(self, partition: int, identity: str) -> int | None:
        of, offset = self.offsets.get(partition, (identity, -1))
        return offset if of == identity and offset >= 0 else None

    def show(self, offsets: Mapping[int, int], identity: str) -> None:
        self.commit(offsets, identity)

    def read_from(self, offsets: Mapping[int, int]) -> None:
        """Nothing comes."""
        self.read = dict(offsets)

    def astray(self) -> set[int]:
        found, self.lost = self.lost, set()
        return found

    def messages(self, count_max: int, timeout_s: float) -> list[Any]:
        return []

    def close(self) -> None:
        """It stays."""

    def commit(
        self, offsets: Mapping[int, int], identity: str, began: int | None = None, *, wait: bool = False
    ) -> None:
        self.offsets |= {partition: (identity, offset) for partition, offset in offsets.items()}
        self.counts |= dict.fromkeys(offsets, began)

    def began(self, partitions: Sequence[int], identity: str) -> int | None:
        return next((count for count in self.counts.values() if count is not None), None)


class Shares(Table):
    def __init__(self) -> None:
        self.held: list[Share] = []
        self.released: list[Share] = []

    def give(self, shares: Sequence[Share]) -> None:
        self.held += shares

    def take(self, shares: Sequence[Share], *, is_lost: bool) -> None:
        self.held = [share for share in self.held if share not in shares]
        self.released += () if is_lost else shares


class Game:
    def __init__(self, *, at_end: bool = False) -> None:
        self.brokers, self.table = Brokers(), Shares()
        membership = Membership("t", "g", "a1/web", {}, 1000, at_end)
        self.group: Any = Group(membership, context(Path()))
        self.group._member = self.group._partitions = self.brokers
        self.group._table = self.table

    def look(self) -> None:
        self.group._look_s = self.group._show_s = 0.0
        self.group.turn(self.table)

    @property
    def begins(self) -> dict[int, int]:
        """Where each partition that is held begins."""
        return {share.number: self.group._streams[share][1] for share in self.table.held}


def test_partition_without_a_leader_does_not_keep_others_from_being_dealt():
    game = Game()
    game.brokers.ends = {0: 5, 1: 5, 2: 5}
    game.brokers.down = {0}
    game.group._on_given([0, 1, 2])
    game.look()
    assert game.begins.keys() == {1, 2}
    game.brokers.down = set()
    game.look()
    assert game.begins.keys() == {0, 1, 2}


@pytest.mark.parametrize("is_seen_by_its_owner", [True, False])
def test_topic_that_is_created_anew_begins_at_its_beginning_whatever_the_group_had_of_the_former(
    is_seen_by_its_owner,
):
    game = Game()
    game.brokers.ends = {0: 100}
    game.group._on_given([0])
    game.look()
    game.brokers.offsets = {0: ("first", 80)}
    game.group._was_acked(0, 90)
    game.brokers.identity, game.brokers.ends = "second", {0: 50}
    if not is_seen_by_its_owner:
        game.group._on_taken([0], is_lost=False)
        assert game.brokers.offsets == {0: ("first", 90)}
        game.group._on_given([0])
    game.look()
    assert game.begins == {0: 0}
    assert game.brokers.offsets == {0: ("first", 80 if is_seen_by_its_owner else 90)}
    (share,) = game.table.held
    assert "second" in share.sender


def test_partition_of_which_nothing_is_stored_goes_on_where_the_group_is():
    game = Game(at_end=True)
    game.brokers.ends = {0: 100}
    game.group._on_given([0])
    game.look()
    assert game.begins == {0: 100}
    game.group._on_taken([0], is_lost=False)
    game.brokers.ends = {0: 200}
    game.group._on_given([0])
    game.look()
    assert game.begins == {0: 100}


@pytest.mark.parametrize("is_another_agent", [True, False])
def test_partition_that_is_added_later_begins_at_its_beginning_also_where_the_group_began_at_the_end(
    is_another_agent,
):
    game = Game(at_end=True)
    game.brokers.ends = {0: 100, 1: 100}
    game.group._on_given([0, 1])
    game.look()
    assert game.begins == {0: 100, 1: 100}
    game.group._was_acked(0, 120)
    game.look()
    if is_another_agent:
        brokers, game = game.brokers, Game(at_end=True)
        game.group._member = game.group._partitions = game.brokers = brokers
        game.group._on_given([0, 1])
    game.brokers.ends = {0: 200, 1: 200, 2: 7}
    game.group._on_given([2])
    game.look()
    assert game.begins == {0: 120 if is_another_agent else 100, 1: 100, 2: 0}
    game.group._was_acked(2, 3)
    game.look()
    assert game.brokers.counts == {0: 2, 1: 2, 2: 2}


def test_topic_that_is_created_anew_begins_at_its_beginning_also_where_the_group_began_at_the_end():
    game = Game(at_end=True)
    game.brokers.ends = {0: 100}
    game.group._on_given([0])
    game.look()
    (former,) = game.table.held
    game.brokers.identity, game.brokers.ends = "second", {0: 50}
    game.look()
    assert game.begins == {0: 0}
    assert game.table.released == [former]


def test_topic_that_brokers_doubt_is_looked_at_at_once(monkeypatch):
    for module in (group, kafka):
        monkeypatch.setattr(module, "LOOK_S", 3600.0)
        monkeypatch.setattr(module, "RETRY_S", 0.0)
    game = Game()
    game.brokers.ends = {0: 100}
    game.group._on_given([0])
    game.look()
    source: Any = Kafka(KafkaConfig("k:9092", "t"), context(Path()))
    source._consumer = game.brokers
    assert len(source.poll(0.0)) == 1
    game.brokers.identity = "second"
    game.group.turn(game.table)
    assert source.poll(0.0) == []
    assert "first" in game.table.held[0].sender
    game.brokers.doubted.set()
    game.group.turn(game.table)
    assert "second" in game.table.held[0].sender
    game.brokers.doubted.set()
    assert len(source.poll(0.0)) == 1
    assert not game.brokers.doubted.is_set()


def test_agent_that_reads_alone_shows_nothing_of_a_former_topic_as_of_the_present():
    source: Any = Kafka(KafkaConfig("k:9092", "t", partitions="0"), context(Path()))
    source._consumer = brokers = Brokers()
    brokers.ends = {0: 100}
    (found,) = source.poll(0.0)
    source.seek(found.stream, 0)
    source._shown_s = float("inf")
    source.acknowledge({found.stream: 90})
    brokers.identity, source._look_s = "second", 0.0
    assert len(source.poll(0.0)) == 1
    source.close()
    assert brokers.offsets == {}


def test_agent_that_reads_alone_counts_what_is_gone_while_it_reads_once():
    counted: list[tuple[str, int]] = []
    source: Any = Kafka(
        KafkaConfig("k:9092", "t"), context(Path(), lambda name, count: counted.append((name, count)))
    )
    source._consumer = brokers = Brokers()
    brokers.ends = {0: 100, 1: 100}
    for found in source.poll(0.0):
        source.seek(found.stream, 10)
    assert brokers.read == {0: 10, 1: 10}
    brokers.lows, brokers.lost = {0: 50}, {0}
    source.poll(0.0)
    assert brokers.read == {0: 50, 1: 10}
    assert counted == [("offsets_gone", 40)]
    brokers.lows, brokers.lost = {0: 60}, {0}
    until(lambda: source.poll(0.1) or brokers.read[0] == 60)
    assert counted == [("offsets_gone", 40), ("offsets_gone", 10)]


class Client:
    """In the place of confluent-kafka's consumer."""

    def __init__(self) -> None:
        self.offsets: dict[int, Any] = {}
        self.came: list[Any] = []

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        self.offsets |= {each.partition: each for each in offsets}

    def consume(self, count_max: int, timeout_s: float) -> list[Any]:
        came, self.came = self.came, []
        return came

    def committed(self, asked: list[TopicPartition], timeout_s: float) -> list[TopicPartition]:
        return [
            self.offsets.get(each.partition, TopicPartition(each.topic, each.partition)) for each in asked
        ]


@pytest.mark.parametrize("kind", [Member, Partitions])
def test_offsets_are_noted_with_the_topic_that_they_are_of(kind):
    client = Client()
    writer, reader = object.__new__(kind), object.__new__(Member)
    for each in (writer, reader):
        each._topic, each._consumer = "t", client
    assert reader.committed(0, "first") is None
    (writer.commit if kind is Member else writer.show)({0: 7}, "first")
    assert reader.committed(0, "first") == 7
    assert reader.committed(0, "second") is None
    for note in ("", "another program's"):
        client.offsets[0] = TopicPartition("t", 0, 8, note)
        assert reader.committed(0, "first") == 8
        assert reader.began([0], "first") is None


@pytest.mark.parametrize("identity", ["first", ""])
def test_number_of_partitions_at_first_is_noted_with_offsets_and_is_the_smallest_of_those_noted(identity):
    member: Any = object.__new__(Member)
    member._topic, member._consumer = "t", Client()
    assert member.began([0, 1, 2], identity) is None
    member.commit({0: 7}, identity)
    assert member.began([0, 1, 2], identity) is None
    member.commit({1: 8}, identity, 3)
    member.commit({2: 9}, identity, 4)
    assert member.began([0, 1, 2], identity) == 3
    assert [member.committed(each, identity) for each in range(3)] == [7, 8, 9]
    member.commit({0: 7, 1: 8, 2: 9}, "former", 5)
    assert member.began([0, 1, 2], "first") == 0
    assert member.committed(1, "first") is None


def test_offset_that_brokers_refuse_to_say_is_not_taken_for_none():
    member: Any = object.__new__(Member)
    member._topic, member._consumer = "t", Client()
    error = KafkaError(KafkaError.UNSTABLE_OFFSET_COMMIT)
    member._consumer.offsets[0] = SimpleNamespace(offset=-1001, metadata=None, error=error)
    with pytest.raises(RetryableError):
        member.committed(0, "first")
    with pytest.raises(RetryableError):
        member.began([1, 0], "first")


class Message:
    """Or what brokers say instead of one."""

    def __init__(self, partition: int, code: int | None = None) -> None:
        self._partition, self._error = partition, None if code is None else KafkaError(code)

    def partition(self) -> int:
        return self._partition

    def error(self) -> KafkaError | None:
        return self._error


def test_messages_that_come_with_a_refusal_are_not_lost_and_what_is_astray_is_said_once():
    partitions: Any = object.__new__(Partitions)
    partitions._topic, partitions._consumer = "t", Client()
    partitions._refusal, partitions._astray, partitions.doubted = "", set(), threading.Event()
    good = Message(0)
    refused = Message(1, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    partitions._consumer.came = [refused, good, Message(2, KafkaError._AUTO_OFFSET_RESET)]
    assert partitions.messages(10, 0.0) == [good]
    assert partitions.doubted.is_set()
    with pytest.raises(RetryableError):
        partitions.messages(10, 0.0)
    assert partitions.messages(10, 0.0) == []
    assert partitions.astray() == {2}
    assert partitions.astray() == set()
