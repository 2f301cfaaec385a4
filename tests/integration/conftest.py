"""What the tests with real processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qanat.testing.cluster import Cluster
from qanat.testing.daemon import DaemonError
from qanat.testing.kafka import Broker
from tests.conftest import jars_missing
from tests.integration.tail_driver import Driver, MakeDriver


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka that nobody kills, with what every test has left in it: topics have the names of tests."""
    try:
        made = Broker(tmp_path_factory.mktemp("kafka") / "broker")
    except DaemonError as missing:
        jars_missing(str(missing))
    with made:
        yield made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """An empty cluster, and a directory `in` for log files."""
    (tmp_path / "in").mkdir()
    with Cluster(tmp_path) as made:
        yield made


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeDriver]:
    """Build drivers of `tail` under the test's directory."""
    made: list[Driver] = []

    def build(*paths: str, **options: Any) -> Driver:
        made.append(Driver(tmp_path, *(paths or ("app.log",)), **options))
        return made[-1]

    yield build
    for driver in made:
        driver.close()
