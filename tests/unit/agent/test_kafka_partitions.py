"""Which partitions of a topic an agent reads."""

from __future__ import annotations

import pytest

from agent.kafka.partitions import chosen
from agent.sources.kafka import Kafka, KafkaConfig


@pytest.mark.parametrize(
    ("partitions", "member", "wanted"),
    [
        ("", "", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("0-2, 7", "", [0, 1, 2, 7]),
        ("", "1/3", [0, 3, 6]),
        ("", "3/3", [2, 5]),
        ("1-4", "2/2", [1, 3]),
    ],
)
def test_partitions_are_those_named_and_of_the_share(partitions, member, wanted):
    assert list(filter(chosen(partitions, member), range(8))) == wanted


def test_shares_of_all_members_are_each_partition_once():
    shares = [chosen("", f"{number}/5") for number in range(1, 6)]
    assert all(sum(share(partition) for share in shares) == 1 for partition in range(100))


@pytest.mark.parametrize("wrong", ["a", "3-1", "-1", "1-", "1-2-3", ",", "0-99999999"])
def test_wrong_partitions_are_a_fault(wrong):
    assert [each.argument for each in Kafka.check(KafkaConfig("k:1", "t", partitions=wrong))] == [
        "partitions"
    ]


@pytest.mark.parametrize("wrong", ["0/3", "4/3", "1", "1/", "a/b", "1/0", "-1/2"])
def test_wrong_share_is_a_fault(wrong):
    assert [each.argument for each in Kafka.check(KafkaConfig("k:1", "t", member=wrong))] == ["member"]


def test_other_faults_are_all_said():
    config = KafkaConfig("", "", group=" ", properties="a", event_bytes=0)
    found = [each.argument for each in Kafka.check(config)]
    assert found == ["brokers", "topic", "group", "properties", "event_bytes"]
