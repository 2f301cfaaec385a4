"""`kafka` in a group of agents: brokers deal partitions out, and storage has every event once whoever has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from confluent_kafka import admin

from qanat.testing.cluster import Agent, Cluster, Collector
from qanat.testing.kafka import Broker
from tests.integration.lines import assert_drains_clean, numbered
from tests.integration.test_kafka_source import create, produce

SOON = {"agent.delivery.RETRY_S_MAX": 0.2, "agent.dealt.TAKEN_S": 0.5}

# The shortest session that brokers allow.
SESSION_S = 6
QUICK = f'properties="session.timeout.ms={SESSION_S * 1000},heartbeat.interval.ms=500"'

PARTITIONS = 4


class Shared:
    """A topic, what was written to it, and agents that share it."""

    def __init__(self, broker: Broker, cluster: Cluster, name: str) -> None:
        self.broker, self.cluster = broker, cluster
        self.topic = create(broker, name, PARTITIONS)
        self.lines = 0

    def write(self, lines: int) -> None:
        """So many more to each partition, whose stream of lines is `p<number>`."""
        for partition in range(PARTITIONS):
            made = numbered(self.lines, self.lines + lines, f"p{partition}").split(b"\n")[:-1]
            produce(self.broker, self.topic, partition, made)
        self.lines += lines

    def produce(self, text: str) -> None:
        """One to each partition, of which no more is heard."""
        for partition in range(PARTITIONS):
            produce(self.broker, self.topic, partition, [text.encode()])

    def agent(
        self, name: str, *chain: Collector, more: str = "", channel: str = "", state: Path | None = None
    ) -> Agent:
        source = f'kafka("{self.broker.address}", "{self.topic}", group="g-{self.topic}", {QUICK}{more})'
        return self.cluster.agent(name, source + channel, *chain, tune=SOON, state=state)

    def wait_until_stored(self) -> None:
        written = sum(len(numbered(0, self.lines, f"p{partition}")) for partition in range(PARTITIONS))
        self.cluster.wait_until_stored(written)

    def assert_exactly_once(self) -> None:
        assert_drains_clean(self.cluster, PARTITIONS * self.lines, PARTITIONS)


@pytest.fixture
def shared(broker: Broker, cluster: Cluster, request: pytest.FixtureRequest) -> Shared:
    return Shared(broker, cluster, request.node.name)


def given(*agents: Agent) -> int:
    """How many partitions they have together."""
    return sum(len(held(agent)) for agent in agents)


def held(agent: Agent) -> set[str]:
    """The partitions that it has, by what it has logged in this life."""
    found: set[str] = set()
    for line in agent.text().splitlines():
        names = set(re.findall(r"\[(\d+)\]", line))
        if "shares_given" in line:
            found |= names
        elif "shares_taken" in line:
            found -= names
    return found


def test_agents_share_a_topic_and_each_event_is_stored_once_whoever_dies_sleeps_or_joins(shared):
    cluster = shared.cluster
    c1 = cluster.collector("c1", "roll=300ms")
    a1, a2, a3 = (shared.agent(f"a{number}", c1) for number in (1, 2, 3))
    shared.write(1000)
    for each in (c1, a1, a2):
        each.start()
    cluster.wait_until(lambda: len(held(a1)) == len(held(a2)) == 2, "both to have two partitions")
    shared.write(1000)
    a3.start()
    cluster.wait_until(lambda: held(a3) and given(a1, a2, a3) == PARTITIONS, "the third to have some")
    cluster.wait_until(lambda: c1.stored_events() > 0, "something to be stored")
    c1.kill()
    c1.start()
    shared.write(1000)
    a2.kill()
    a1.pause()
    shared.write(1000)
    cluster.wait_until(lambda: len(held(a3)) == PARTITIONS, "the third to have all")
    a1.resume()
    shared.write(1000)
    a1.wait_for("is_lost=True")
    a2.start()
    cluster.wait_until(lambda: held(a1) and held(a2) and given(a1, a2, a3) == PARTITIONS, "all to have some")
    shared.write(1000)
    shared.wait_until_stored()
    shared.assert_exactly_once()


def test_partition_that_moves_to_another_collector_is_released_before(shared):
    """Nobody fences the collector that it leaves, which would cost all other senders of that one its open transaction."""
    cluster = shared.cluster
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    a1, a2 = shared.agent("a1", c1), shared.agent("a2", c2)
    shared.write(1000)
    for each in (c1, c2, a1):
        each.start()
    cluster.wait_until(lambda: c1.stored_events() == PARTITIONS * shared.lines, "the first to store all")
    a2.start()
    cluster.wait_until(lambda: len(held(a1)) == len(held(a2)) == 2, "both to have two partitions")
    shared.write(1000)
    shared.wait_until_stored()
    assert c2.stored_events() == 2 * 1000
    assert "claim_taken_over" not in c2.text()
    shared.assert_exactly_once()


def test_agent_that_is_killed_has_its_partitions_again_at_once_and_begins_where_it_began(shared):
    """Nothing of what is there at first is wanted, and nothing was stored when the agent dies."""
    cluster = shared.cluster
    c1 = cluster.collector("c1", "roll=300ms")
    a1 = shared.agent("a1", c1, more=', start="end"')
    shared.produce("old")
    a1.start()
    cluster.wait_until(lambda: given(a1) == PARTITIONS, "all partitions")
    a1.kill()
    shared.write(1000)
    cluster.start()
    shared.wait_until_stored()
    shared.assert_exactly_once()


def test_topic_that_is_created_anew_is_stored_from_its_beginning_also_by_a_group_that_began_at_the_end(
    shared,
):
    cluster = shared.cluster
    c1 = cluster.collector("c1", "roll=300ms")
    a1 = shared.agent("a1", c1, more=', start="end"')
    cluster.start()
    cluster.wait_until(lambda: given(a1) == PARTITIONS, "all partitions")
    shared.write(1000)
    shared.wait_until_stored()
    client = admin.AdminClient({"bootstrap.servers": shared.broker.address})
    for future in client.delete_topics([shared.topic]).values():
        future.result(30)
    cluster.wait_until(
        lambda: shared.topic not in client.list_topics(timeout=10).topics, "the topic to be gone"
    )
    create(shared.broker, shared.topic, PARTITIONS)
    shared.write(500)
    shared.wait_until_stored()
    shared.assert_exactly_once()


def test_two_agents_of_one_name_are_one_member_and_the_later_one_wins(shared, tmp_path):
    cluster = shared.cluster
    c1 = cluster.collector("c1", "roll=300ms")
    first = shared.agent("a1", c1)
    shared.write(1000)
    cluster.start()
    cluster.wait_until(lambda: given(first) == PARTITIONS, "all partitions")
    second = shared.agent("a1", c1, state=tmp_path / "other")
    second.start()
    assert first.wait() == 1
    assert "A later process is this member of the group" in first.text()
    cluster.daemons.remove(first)
    shared.write(1000)
    shared.wait_until_stored()
    shared.assert_exactly_once()


def test_with_a_channel_no_group_is_joined_and_people_are_told(shared):
    cluster = shared.cluster
    c1 = cluster.collector("c1", "roll=300ms")
    a1 = shared.agent("a1", c1, channel=" | fileChannel")
    shared.write(1000)
    cluster.start()
    shared.wait_until_stored()
    assert "group_not_joined" in a1.text()
    shared.assert_exactly_once()
