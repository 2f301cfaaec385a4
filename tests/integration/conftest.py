"""What the tests with real processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qanat.testing.cluster import Cluster
from tests.integration.tail_driver import Driver, MakeDriver


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
