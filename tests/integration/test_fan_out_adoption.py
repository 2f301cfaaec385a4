"""What a dead collector's fan-out has left, files and log, is finished by another one; or people are told that it can't be."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

import pytest

from qanat.testing.cluster import Cluster, Collector, metric, published, temporary
from tests.integration.lines import append, assert_exactly_once, numbered, tail

DEAF_SOON = {"qanat.rpc.options.HEARTBEAT_S": 0.2}


class Scene:
    """Two collectors with one fan-out to `a` and `b`, of which `b` is away; the first has stored 20,000 events and died."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.a, self.b = cluster.directory / "a", cluster.directory / "b"
        self.b.write_text("not a directory: this branch can't work")
        self.c1, self.c2 = self._collector("c1"), self._collector("c2")
        cluster.agent("a1", tail(cluster), self.c1, self.c2, tune=DEAF_SOON)
        cluster.start()
        self.write(0, 20_000)
        cluster.wait_until(lambda: self.c1.stored_events() == 20_000, "the first collector to store")
        cluster.wait_until(lambda: self.lag(0) == 0 and self.lag(1) == 20_000, "branch a to have it")
        self.c1.kill()
        self.state = cluster.directory / "state" / "collector-c1"

    def _collector(self, name: str) -> Collector:
        sink = f'[ file("{self.a}/", "x-", roll=1h), file("{self.b}/", "x-", roll=1h) ]'
        made = self.cluster.collector(name, sink=sink, tune=DEAF_SOON)
        made.arguments = [*made.arguments, "--adopt-after", "1s"]
        return made

    def lag(self, branch: int) -> float | None:
        """Events that a branch of the first collector has not stored; None while it does not say."""
        try:
            page = scrape(self.c1.metrics_port)
        except OSError:
            return None
        line = re.search(rf'^qanat_branch_lag_events{{branch="{branch}",.*}} (\S+)$', page, re.M)
        return None if line is None else float(line[1])

    def write(self, first: int, last: int) -> None:
        append(self.cluster.directory / "in" / "a.log", numbered(first, last))


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return str(response.read(), "utf-8")


def published_by(name: str, root: Path) -> int:
    found = [path for path in published(root) if f"coll@{name}-" in path.name]
    return sum(path.read_bytes().count(b"\n") for path in found)


@pytest.fixture
def scene(cluster: Cluster) -> Scene:
    return Scene(cluster)


def test_adopter_gives_branches_what_waits_for_them_in_a_log_on_shared_storage(scene: Scene) -> None:
    scene.b.unlink()
    scene.cluster.wait_until(lambda: published_by("c1", scene.b) == 20_000, "the log to be in the branch")
    scene.c2.wait_for("adoption_done")
    scene.write(20_000, 21_000)
    scene.cluster.wait_until(lambda: scene.c2.stored_events() >= 1_000, "the second collector to store")
    scene.cluster.stop()
    for branch in (scene.a, scene.b):
        assert_exactly_once(branch, 21_000)
        assert not temporary(branch)


def test_owner_that_comes_back_after_its_log_was_given_away_stores_nothing_twice(scene: Scene) -> None:
    scene.b.unlink()
    scene.c2.wait_for("adoption_done")
    scene.c1.start()
    scene.c2.kill()
    scene.write(20_000, 21_000)
    scene.cluster.wait_until(lambda: scene.c1.stored_events() >= 1_000, "the first collector to store")
    scene.c2.start()
    scene.cluster.stop()
    for branch in (scene.a, scene.b):
        assert_exactly_once(branch, 21_000)


def test_log_on_the_disk_of_a_dead_host_is_told_of_and_comes_when_the_host_is_back(scene: Scene) -> None:
    away = scene.state.rename(scene.state.with_name("the disk of another host"))
    scene.b.unlink()
    scene.c2.wait_for("events_stranded")
    scene.c2.wait_for("adoption_done")
    assert published_by("c1", scene.a) == 20_000, "what the other branch has taken is finished all the same"
    assert published_by("c1", scene.b) == 0
    stranded = lambda: metric(scene.c2.metrics_port, "qanat_stranded_bytes")  # noqa: E731
    scene.cluster.wait_until(lambda: stranded() > 20_000, "the metric")
    away.rename(scene.state)
    scene.c1.start()
    scene.cluster.wait_until(lambda: stranded() == 0, "the first collector to be back")
    scene.cluster.wait_until(lambda: scene.lag(1) == 0, "its branch to have what waited")
    scene.cluster.stop()
    for branch in (scene.a, scene.b):
        assert_exactly_once(branch, 20_000)
