"""The source `kafka` against a real broker: exactly once from offsets, whoever dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import admin

from agent.kafka.consumer import Partitions
from agent.sources.kafka import Kafka, KafkaConfig
from qanat.testing.daemon import DaemonError
from qanat.testing.kafka import Broker
from tests.conftest import jars_missing
from tests.integration.lines import assert_drains_clean, numbered
from tests.unit.agent.live import until
from tests.unit.agent.scripted import context

LINES = 6000
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}


@pytest.fixture
def topic(broker, request) -> str:
    return create(broker, request.node.name.replace("[", ".").replace("]", ""), 3)


def create(broker: Broker, name: str, partitions: int) -> str:
    client = admin.AdminClient({"bootstrap.servers": broker.address})
    for future in client.create_topics([admin.NewTopic(name, partitions, 1)]).values():
        future.result(30)
    return name


def produce(broker: Broker, topic: str, partition: int, values: list[bytes], **more: Any) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "linger.ms": 5})
    for value in values:
        while True:
            try:
                producer.produce(topic, value, partition=partition, **more)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0


class Reader:
    """A source as an agent drives it, that remembers what came."""

    def __init__(
        self, broker: Broker, topic: str, tmp_path: Any, count: Callable[[str, int], None], **options: Any
    ):
        self.source = Kafka(KafkaConfig(broker.address, topic, **options), context(tmp_path, count))
        self.found: dict[str, int] = {}
        self.at: dict[str, int] = {}
        self.rows: list[dict[str, Any]] = []

    def turn(self) -> bool:
        for event in self.source.poll(0.1):
            self.found[event.stream] = event.position
            self.seek(event.stream, event.position)
        while (batch := self.source.read(10_000)) is not None:
            assert batch.start == self.at[batch.stream]
            assert batch.count == batch.payload.num_rows
            self.at[batch.stream] = batch.end
            made = [{**batch.attributes, **row} for row in batch.payload.to_pylist()]
            assert all(batch.start <= row["position"] < batch.end for row in made)
            self.rows += made
        return True

    def seek(self, stream: str, position: int) -> None:
        self.at[stream] = position
        self.source.seek(stream, position)

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        until(lambda: self.turn() and len(self.rows) >= count)
        assert len(self.rows) == count
        return self.rows


@pytest.fixture
def reader(broker, topic, tmp_path) -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []
    counted: dict[str, int] = {}

    def make(**options: Any) -> Reader:
        def count(name: str, n: int) -> None:
            counted[name] = counted.get(name, 0) + n

        one = Reader(broker, topic, tmp_path, count, **options)
        made.append(one)
        one.counted = counted
        one.source.open()
        return one

    yield make
    for each in made:
        each.source.close()


def test_message_becomes_an_event_with_key_headers_and_time(broker, topic, reader):
    produce(
        broker, topic, 1, [b"a\nb"], key="k", headers={"h": "v", "body": "x"}, timestamp=1_700_000_000_123
    )
    produce(broker, topic, 1, [None])
    first, second = reader().wait_for(2)
    assert (first["body"], first["key"], first["h"], first["header.body"]) == (b"a\nb", "k", "v", "x")
    assert round(first["timestamp"].timestamp() * 1000) == 1_700_000_000_123
    assert (first["topic"], first["partition"], first["position"]) == (topic, "1", 0)
    assert (second["body"], second["position"]) == (b"", 1)


def test_partitions_keep_their_order_and_can_be_read_again(broker, topic, reader):
    for partition in range(3):
        produce(broker, topic, partition, [b"%d-%d" % (partition, n) for n in range(500)])
    one = reader()
    one.wait_for(1500)
    for partition in range(3):
        mine = [row["body"] for row in one.rows if row["partition"] == str(partition)]
        assert mine == [b"%d-%d" % (partition, n) for n in range(500)]
    stream = next(name for name in one.at if name.endswith(":2"))
    one.rows.clear()
    one.seek(stream, 490)
    assert [row["body"] for row in one.wait_for(10)] == [b"2-%d" % n for n in range(490, 500)]
    assert one.source.lag_bytes() == 0


def test_share_reads_its_partitions_and_start_at_the_end_reads_what_comes(broker, topic, reader):
    for partition in range(3):
        produce(broker, topic, partition, [b"old"])
    one = reader(member="2/2", start="end")
    until(lambda: one.turn() and one.at)
    for partition in range(3):
        produce(broker, topic, partition, [b"new %d" % partition])
    assert [row["body"] for row in one.wait_for(1)] == [b"new 1"]


def test_what_kafka_has_deleted_is_counted_and_the_rest_is_read(broker, topic, reader):
    produce(broker, topic, 0, [b"%d" % n for n in range(10)])
    client = admin.AdminClient({"bootstrap.servers": broker.address})
    gone = confluent_kafka.TopicPartition(topic, 0, 4)
    for future in client.delete_records([gone]).values():
        future.result(30)
    one = reader(partitions="0")
    until(lambda: one.turn() and one.found)
    (stream,) = one.found
    assert one.found[stream] == 4
    one.rows.clear()
    one.seek(stream, 2)
    assert [row["body"] for row in one.wait_for(6)] == [b"%d" % n for n in range(4, 10)]
    assert one.counted == {"offsets_gone": 2}


@pytest.mark.parametrize("offset", [2, 999])
def test_reader_hears_that_its_next_offset_is_not_there_and_can_go_on_elsewhere(broker, topic, offset):
    produce(broker, topic, 0, [b"%d" % n for n in range(10)])
    client = admin.AdminClient({"bootstrap.servers": broker.address})
    gone = confluent_kafka.TopicPartition(topic, 0, 4)
    for future in client.delete_records([gone]).values():
        future.result(30)
    partitions = Partitions(topic, {"bootstrap.servers": broker.address, "group.id": f"g-{topic}"})
    found: list[int] = []
    try:
        partitions.read_one_from(0, offset)
        until(lambda: found.extend(partitions.messages(10, 0.1)) or partitions.astray() == {0})
        assert found == []
        partitions.read_one_from(0, 4)
        until(lambda: found.extend(each.offset() for each in partitions.messages(10, 0.1)) or len(found) == 6)
        assert found == list(range(4, 10))
    finally:
        partitions.close()


def test_aborted_transactions_are_left_out_and_their_offsets_are_covered(broker, topic, reader):
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "transactional.id": topic})
    producer.init_transactions(60)
    for turn, ends in enumerate(
        (producer.commit_transaction, producer.abort_transaction, producer.commit_transaction)
    ):
        producer.begin_transaction()
        producer.produce(topic, b"%d" % turn, partition=0)
        producer.flush(30)
        ends(30)
    one = reader(partitions="0")
    assert [(row["body"], row["position"]) for row in one.wait_for(2)] == [(b"0", 0), (b"2", 4)]


def test_group_shows_what_was_acknowledged(broker, topic, reader):
    produce(broker, topic, 0, [b"a", b"b", b"c"])
    one = reader(partitions="0", group=f"g-{topic}")
    one.wait_for(3)
    one.source.acknowledge(dict(one.at))
    client = admin.AdminClient({"bootstrap.servers": broker.address})

    def shown() -> int:
        one.turn()
        request = confluent_kafka.ConsumerGroupTopicPartitions(f"g-{topic}")
        found = client.list_consumer_group_offsets([request])[f"g-{topic}"].result(30)
        return found.topic_partitions[0].offset if found.topic_partitions else -1

    until(lambda: shown() == 3)


def test_killed_agents_and_collectors_and_brokers_cost_nothing_and_double_nothing(tmp_path_factory, cluster):
    try:
        made = Broker(tmp_path_factory.mktemp("kafka") / "own")
    except DaemonError as missing:
        jars_missing(str(missing))
    with made as broker:
        topic = create(broker, "lines", 1)
        lines = numbered(0, LINES).split(b"\n")[:-1]
        produce(broker, topic, 0, lines[: LINES // 2])
        c1 = cluster.collector("c1", "roll=300ms")
        agent = cluster.agent("a1", f'kafka("{broker.address}", "{topic}")', c1, tune=SOON)
        cluster.start()
        cluster.wait_until(lambda: c1.stored_events() > 0, "something to be stored")
        agent.kill()
        agent.start()
        c1.kill()
        c1.start()
        broker.kill()
        broker.start()
        for part in range(3):
            produce(broker, topic, 0, lines[LINES // 2 + part * 1000 : LINES // 2 + (part + 1) * 1000])
            for daemon in (agent, c1):
                daemon.kill()
                daemon.start()
        cluster.wait_until_stored(len(numbered(0, LINES)))
        assert_drains_clean(cluster, LINES)
