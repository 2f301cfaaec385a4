"""Where a partition that brokers give to an agent begins, and what is left of it for the next owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.dealer import Share, Table
from agent.kafka.consumer import Topic
from agent.kafka.group import Group, Membership
from qanat.errors import RetryableError
from tests.unit.agent.scripted import context


class Brokers:
    """What `Partitions` and `Member` say, and remember of the group: offsets and the topic that they are of."""

    def __init__(self) -> None:
        self.identity = "first"
        self.ends: dict[int, int] = {}
        self.offsets: dict[int, tuple[str, int]] = {}
        self.down: set[int] = set()

    def cluster(self) -> str:
        return "cluster"

    def topic(self) -> Topic:
        return Topic(self.identity, tuple(self.ends))

    def bounds(self, partition: int) -> tuple[int, int]:
        if partition in self.down:
            raise RetryableError("no leader")
        return 0, self.ends[partition]

    def turn(self, timeout_s: float) -> None:
        """Nothing new."""

    def committed(self, partition: int, identity: str) -> int | None:
        of, offset = self.offsets.get(partition, (identity, -1))
        return offset if of == identity and offset >= 0 else None

    def commit(self, offsets: Mapping[int, int], identity: str, *, wait: bool = False) -> None:
        self.offsets |= {partition: (identity, offset) for partition, offset in offsets.items()}


class Shares(Table):
    def __init__(self) -> None:
        self.held: list[Share] = []

    def give(self, shares: Sequence[Share]) -> None:
        self.held += shares

    def take(self, shares: Sequence[Share], *, is_lost: bool) -> None:
        self.held = [share for share in self.held if share not in shares]


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
