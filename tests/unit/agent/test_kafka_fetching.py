"""Messages of several partitions, fetched together: what each reader sees, whoever is slow, and wherever it seeks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from agent.kafka import fetching
from agent.kafka.astray import AGAIN_S_MAX, Astray
from agent.kafka.fetching import Fetching
from agent.kafka.group import member_name
from tests.unit.agent.live import until


@dataclass
class Message:
    number: int
    at: int

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def __len__(self) -> int:
        return 100


class Log:
    """Endless partitions, as `consumer.Partitions` reads them; what was asked is in `held` and `dropped`."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}
        self.held: set[int] = set()
        self.low = 0  # of all partitions: what is before it was deleted
        self.dropped: list[int] = []
        self.failure: Exception | None = None
        self.is_closed = False

    def read_one_from(self, partition: int, offset: int) -> None:
        self.at[partition] = offset
        self.held.discard(partition)

    def drop(self, partition: int) -> None:
        self.at.pop(partition, None)
        self.dropped.append(partition)

    def hold(self, partition: int, *, is_held: bool) -> None:
        (self.held.add if is_held else self.held.discard)(partition)

    def high(self, partition: int) -> int:
        return 1_000_000

    def messages(self, count_max: int, timeout_s: float) -> list[Any]:
        if self.failure is not None:
            raise self.failure
        found = []
        for partition in self.at.keys() - self.held:
            if self.at[partition] < self.low:
                continue
            found += [Message(partition, self.at[partition] + n) for n in range(7)]
            self.at[partition] += 7
        return found

    def astray(self) -> set[int]:
        return {each for each, at in self.at.items() if at < self.low}

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def made(log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetching]:
    for name, value in {"WAITING_BYTES": 30_000, "LANE_BYTES_MIN": 1000, "PATIENCE_S": 0.01}.items():
        monkeypatch.setattr(fetching, name, value)
    made = Fetching("t", log, lambda name, n: None)
    made.start()
    yield made
    made.close()
    assert log.is_closed


def read(made: Fetching, partition: int, count: int) -> list[int]:
    """The next `count` offsets."""
    found: list[int] = []

    def some() -> bool:
        made.wait(partition, 0.1)
        start, taken = made.take(partition, 250)
        if taken:
            assert start == taken[0].offset()
            assert len(taken) <= 2
        found.extend(message.offset() for message in taken)
        return len(found) >= count

    until(some)
    return found


def test_readers_get_their_own_partition_from_where_they_sought(made, log):
    made.seek(1, 100, 100)
    made.seek(2, 5, 5)
    assert read(made, 1, 50)[:50] == list(range(100, 150))
    assert read(made, 2, 50)[:50] == list(range(5, 55))
    until(lambda: made.left(2) > 900_000)


def test_seek_forgets_what_had_come_and_what_is_on_its_way(made, log):
    for position in (1000, 10, 500, 0, 77):
        made.seek(1, position, position)
        assert read(made, 1, 20)[:20] == list(range(position, position + 20))


def test_reader_that_is_slow_is_held_and_the_others_are_not(made, log):
    made.seek(1, 0, 0)
    made.seek(2, 0, 0)
    until(lambda: log.held == {1, 2})
    assert read(made, 2, 500)[:500] == list(range(500))
    assert 1 in log.held
    assert read(made, 1, 500)[:500] == list(range(500))


def test_dropped_partition_is_not_fetched(made, log):
    made.seek(1, 0, 0)
    read(made, 1, 1)
    made.drop(1)
    until(lambda: log.dropped == [1])
    assert made.take(1, 1000) == (0, [])
    assert made.left(1) == 0


def test_wait_ends_when_woken_and_when_fetching_has_failed(made, log):
    made.wake(1)
    made.wait(1, 60)
    log.failure = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        made.wait(1, 60)


def test_what_is_gone_while_a_partition_is_read_is_told_to_its_reader_who_goes_on_after_it(made, log):
    made.seek(1, 0, 0)
    made.seek(2, 5000, 5000)
    until(lambda: log.held == {1, 2})
    log.low = 4000
    until(lambda: made.take(1, 1000)[1] == [])
    until(lambda: made.astray(1) is not None)
    position = made.astray(1)
    assert 0 < position < 4000
    made.wait(1, 60)
    made.go_on(1, 4000)
    until(lambda: made.wait(1, 0.1) or made._lanes[1].waiting)
    start, taken = made.take(1, 1000)
    assert (start, taken[0].offset()) == (position, 4000)
    assert made.astray(1) is None
    assert made.astray(2) is None
    assert read(made, 2, 50)[:50] == list(range(5000, 5050))


def test_partition_that_stays_astray_is_sought_at_once_and_then_less_and_less_often():
    astray = Astray()
    times = []
    for now_s in range(200):
        astray.add(1, float(now_s))
        if astray.due(float(now_s)):
            times.append(now_s)
            assert astray.is_due(1, float(now_s))
            astray.sought(1)
            assert not astray.is_due(1, float(now_s))
    assert times[:6] == [0, 2, 5, 10, 19, 36]
    assert max(after - before for before, after in pairwise(times)) == AGAIN_S_MAX + 1
    astray.came(1)
    astray.add(1, 300.0)
    assert astray.due(300.0) == [1]


def test_name_of_a_member_is_what_kafka_takes_and_tells_agents_apart():
    names = [member_name(text) for text in ("a/b", "a.b", "a_b", "ä b" * 200)]
    assert len(set(names)) == 4
    assert all(len(name) <= 249 and set(name) <= set("abcdef0123456789_.-") for name in names)
