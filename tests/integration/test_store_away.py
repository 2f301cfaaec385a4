"""A collector whose coordination store goes away, long enough for its session to end, and comes back."""

from __future__ import annotations

from pathlib import Path

from qanat.testing.cluster import Cluster, metric
from qanat.testing.zookeeper import Ensemble
from tests.integration.lines import append, assert_drains_clean, numbered, tail


def test_nothing_is_acked_while_the_store_is_away_and_all_goes_on_by_itself(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.log"
    with Ensemble(tmp_path / "zookeeper", size=1) as ensemble, Cluster(tmp_path, ensemble.url()) as cluster:
        c1 = cluster.collector("c1", "roll=1s")
        agent = cluster.agent("a1", tail(cluster), c1)
        append(path, numbered(0, 1_000))
        cluster.start()
        cluster.wait_until(
            lambda: metric(agent.metrics_port, "qanat_acked_events_total") == 1_000, "the first events"
        )
        assert metric(c1.metrics_port, "qanat_store_connected") == 1
        ensemble.pause(0)
        append(path, numbered(1_000, 2_000))
        c1.wait_for("collector_store_lost")
        cluster.wait_until(
            lambda: metric(c1.metrics_port, "qanat_received_events_total") == 2_000,
            "what follows to be received",
        )
        c1.wait_for("commit_waits")
        assert metric(c1.metrics_port, "qanat_store_connected") == 0
        assert metric(agent.metrics_port, "qanat_acked_events_total") == 1_000
        ensemble.resume(0)
        c1.wait_for("collector_store_back")
        cluster.wait_until(
            lambda: metric(agent.metrics_port, "qanat_acked_events_total") == 2_000, "the rest to be acked"
        )
        assert_drains_clean(cluster, 2_000)
