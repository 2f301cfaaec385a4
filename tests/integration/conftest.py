"""What the tests with real processes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.testing.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """An empty cluster, and a directory `in` for log files."""
    (tmp_path / "in").mkdir()
    with Cluster(tmp_path) as made:
        yield made
