"""A collector's fan-out tells what each branch has to store, to whoever gives the next batch to the least loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.fan_out.balance import Balance
from collector.fan_out.sink import FanOut
from qanat.batch import Batch, lines_batch
from qanat.decorators.common.cases import NOTE
from qanat.delivery.fan_out_sink import Branch
from qanat.loads import Loads
from tests.unit.collector.test_fan_out import ListSink, Node


def batch(share: int, at: int) -> Batch:
    return lines_batch("s", at, b"line\n", timestamp_ns=0, attributes={NOTE: str(share)})


class Balanced(Node):
    """`required`: of the first branch."""

    def start(self) -> None:
        self.loads = Loads(2)
        balance = Balance(self.loads, {"0": 0, "1": 1})
        branches = [
            Branch(str(index), ListSink(self.disks[index], self._context), required)
            for index, required in enumerate(self._required)
        ]
        self.sink = FanOut(branches, self._context, balance=balance)
        self.sink.claim()
        self.sink.open(self.record)
        self.position = self.committed

    def give(self, share: int) -> None:
        self.sink.append(batch(share, self.position))
        self.position += 5


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Any]:
    made: list[Balanced] = []

    def start(*required: bool) -> Balanced:
        made.append(Balanced(tmp_path, required))
        return made[-1]

    yield start
    for each in made:
        each.sink.close()


def test_branch_has_what_was_given_to_it_until_its_storage_has_it(node: Any) -> None:
    cluster = node(False, False)
    cluster.give(0)
    cluster.give(1)
    cluster.give(1)
    assert [cluster.loads.bytes_of(share) for share in range(2)] == [5, 10]
    cluster.settle(lambda: cluster.loads.bytes_of(0) == cluster.loads.bytes_of(1) == 0)


def test_branch_whose_storage_is_away_is_given_nothing_while_there_is_another(node: Any) -> None:
    cluster = node(False, False)
    cluster.disks[0].broken = True
    cluster.crash()  # and claims anew
    assert {cluster.loads.least(0.0) for _ in range(4)} == {1}


def test_what_a_transaction_takes_back_is_given_anew(node: Any) -> None:
    cluster = node(True, False)
    cluster.give(0)
    cluster.give(1)
    cluster.abort()
    assert [cluster.loads.bytes_of(share) for share in range(2)] == [0, 0]
    cluster.give(0)
    cluster.commit()
    assert cluster.loads.bytes_of(0) == 0, "it is written to directly, so what is committed is stored"


def test_what_the_log_still_has_after_a_restart_counts(node: Any) -> None:
    cluster = node(False, False)
    cluster.disks[1].broken = True
    for _ in range(10):
        cluster.give(1)
        cluster.commit_or_abort()
    cluster.crash()
    assert cluster.loads.bytes_of(1) > 0
