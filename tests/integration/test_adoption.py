"""What a dead collector left is finished by another one that shares its directory: with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.testing.cluster import Cluster, Collector, published, temporary
from qanat.testing.zookeeper import Ensemble
from tests.integration.lines import append, assert_drains_clean, assert_exactly_once, numbered, tail

# Instead of ten seconds until a peer that says nothing is given up.
DEAF_SOON = {"qanat.rpc.options.HEARTBEAT_S": 0.2}
FORMATS = ("raw", "parquet")


@pytest.fixture(params=["embedded", "zookeeper"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """An empty cluster, and a directory `in` for log files."""
    (tmp_path / "in").mkdir()
    if request.param == "embedded":
        with Cluster(tmp_path) as made:
            yield made
        return
    with Ensemble(tmp_path / "zookeeper", size=1) as ensemble, Cluster(tmp_path, ensemble.url()) as made:
        yield made


def collectors(cluster: Cluster, format: str, *, commit: str = "100ms") -> tuple[Collector, Collector]:
    """Two with one directory; their files are open until somebody finishes them."""
    options = f'roll=1h, format="{format}"'
    made = [
        cluster.collector(name, options, out=cluster.out, commit=commit, tune=DEAF_SOON)
        for name in ("c1", "c2")
    ]
    for each in made:
        each.arguments = [*each.arguments, "--adopt-after", "1s"]
    return made[0], made[1]


def write(cluster: Cluster, first: int, last: int) -> None:
    append(cluster.directory / "in" / "a.log", numbered(first, last))


def of(collector: Collector, paths: list[Path]) -> list[Path]:
    return [path for path in paths if f"coll@{collector.name}-" in path.name]


@pytest.mark.parametrize("format", FORMATS)
def test_files_that_a_killed_collector_left_open_are_finished_without_it(
    cluster: Cluster, format: str
) -> None:
    c1, c2 = collectors(cluster, format)
    cluster.agent("a1", tail(cluster), c1, c2, tune=DEAF_SOON)
    write(cluster, 0, 20_000)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == 20_000, "the first collector to store")
    write(cluster, 20_000, 30_000)
    c1.kill()
    write(cluster, 30_000, 31_000)
    c2.wait_for("adoption_done")
    assert of(c1, published(cluster.out))
    assert not of(c1, temporary(cluster.out))
    cluster.wait_until(lambda: c2.stored_events() >= 1_000, "the second collector to store")
    cluster.stop()
    assert_exactly_once(cluster.out, 31_000)
    assert not temporary(cluster.out)


@pytest.mark.parametrize("format", FORMATS)
def test_collector_paused_until_it_is_adopted_stores_nothing_twice_when_it_wakes_under_load(
    cluster: Cluster, format: str
) -> None:
    c1, c2 = collectors(cluster, format, commit="300ms")
    agent = cluster.agent("a1", tail(cluster), c1, c2, tune=DEAF_SOON)
    write(cluster, 0, 20_000)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == 20_000, "the first collector to store")
    write(cluster, 20_000, 70_000)
    cluster.wait_until(
        lambda: agent.read_events() > 20_000, "batches that may be appended, and not committed"
    )
    c1.pause()
    c2.wait_for("adoption_done")
    cluster.wait_until(lambda: c2.stored_events() > 0, "the second collector to store")
    c1.resume()
    write(cluster, 70_000, 90_000)
    c1.wait_for("sink_taken_over")
    write(cluster, 90_000, 90_100)
    cluster.wait_until(lambda: c2.stored_events() + c1.stored_events() >= 90_100, "everything to be stored")
    cluster.stop()
    assert_exactly_once(cluster.out, 90_100)
    assert not temporary(cluster.out)


@pytest.mark.parametrize("format", FORMATS)
def test_collector_that_is_started_again_during_its_adoption_goes_on(cluster: Cluster, format: str) -> None:
    c1, c2 = collectors(cluster, format)
    cluster.agent("a1", tail(cluster), c1, tune=DEAF_SOON)
    write(cluster, 0, 20_000)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == 20_000, "the first collector to store")
    c1.kill()
    c2.wait_for("adoption_begins")
    c1.start()
    c1.wait_for("sink_ready")
    write(cluster, 20_000, 30_000)
    cluster.wait_until(lambda: c1.stored_events() == 10_000, "the first collector to store the rest")
    cluster.stop()
    assert_exactly_once(cluster.out, 30_000)
    assert not temporary(cluster.out)


def test_collector_does_not_adopt_what_lies_in_another_directory(cluster: Cluster) -> None:
    c1 = cluster.collector("c1", "roll=1h")
    c2 = cluster.collector("c2", "roll=1h")
    c2.arguments = [*c2.arguments, "--adopt-after", "500ms"]
    cluster.agent("a1", tail(cluster), c1, tune=DEAF_SOON)
    write(cluster, 0, 1_000)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == 1_000, "the first collector to store")
    c1.kill()
    third = cluster.collector("c3", "roll=1h", out=c1.out)  # has the directory, and adopts
    third.arguments = [*third.arguments, "--adopt-after", "500ms"]
    third.start()
    third.wait_for("adoption_done")
    assert "adoption_begins" not in c2.text()
    assert_drains_clean(cluster, 1_000)
