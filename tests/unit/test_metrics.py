from __future__ import annotations

import re
import urllib.request

import pytest

from qanat.metrics import CollectorMetrics, Metrics


@pytest.fixture
def metrics():
    return Metrics()


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, {"logical_node": "web", **labels})


UNITS = "events|bytes|batches|seconds|rewinds|failovers|commits|transactions|adoptions|connected|occurrences"


def test_every_metric_is_named_by_noun_and_unit_and_explained(metrics):
    for metric in metrics.registry.collect():
        assert re.fullmatch(rf"qanat_([a-z]+_)*({UNITS})", metric.name), metric.name
        assert re.fullmatch(r"[A-Z].+\.", metric.documentation), metric.name


def test_agent_counts_batches_events_and_bytes(metrics):
    agent = metrics.agent("web")
    agent.read(10, 2000)
    agent.read(5, 1000)
    agent.rewound()
    agent.lag_bytes(77)
    agent.dropped("oversize", 3)
    assert value(metrics, "qanat_read_batches_total") == 2
    assert value(metrics, "qanat_read_events_total") == 15
    assert value(metrics, "qanat_read_bytes_total") == 3000
    assert value(metrics, "qanat_rewinds_total") == 1
    assert value(metrics, "qanat_lag_bytes") == 77
    assert value(metrics, "qanat_dropped_events_total", reason="oversize") == 3


def test_commit_is_timed_from_its_cut_to_its_first_ack(metrics):
    now = iter([100.0, 200.0, 200.25])
    collector = CollectorMetrics(metrics, "web", monotonic_s=lambda: next(now))
    collector.committing()  # given up
    collector.committing()
    collector.acked()
    collector.acked()
    assert value(metrics, "qanat_commits_total") == 1
    assert value(metrics, "qanat_commit_seconds_sum") == 0.25


def test_component_counts_by_name(metrics):
    count = metrics.counts("web")
    count("events_truncated", 2)
    assert value(metrics, "qanat_component_occurrences_total", what="events_truncated") == 2


def test_two_programs_in_one_process_share_nothing(metrics):
    metrics.agent("web").read(1, 1)
    assert value(Metrics(), "qanat_read_events_total") is None


def test_metrics_are_served_until_stopped(metrics, free_port):
    metrics.agent("web").read(4, 4)
    port = free_port()
    stop = metrics.serve(port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        body = reply.read()
    stop()
    assert b'qanat_read_events_total{logical_node="web"} 4.0' in body
    assert body == metrics.render()
    metrics.serve(port)()  # the port is free again
