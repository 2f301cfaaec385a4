from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from qanat.component import Fill
from qanat.control.measures import Measures
from qanat.described import LogicalDescription, NodeDescription
from qanat.metrics import CollectorMetrics, MasterMetrics, Metrics
from qanat.moved import STREAMS_MAX


@pytest.fixture
def metrics():
    return Metrics()


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, {"logical_node": "web", **labels})


COUNTED = "events|batches|rewinds|failovers|commits|transactions|adoptions|occurrences|assignments|operations|attempts"
UNITS = f"{COUNTED}|bytes|seconds|position|revision|nodes|masters"
# What is 0 or 1, or always 1.
FLAGS = "connected|attached|applied|leads|state|info"


@pytest.mark.parametrize("kind", [Metrics, MasterMetrics])
def test_every_metric_is_named_by_noun_and_unit_and_explained(kind):
    for metric in kind().registry.collect():
        assert re.fullmatch(r"[A-Z1].+\.", metric.documentation), metric.name
        if not metric.name.startswith("process_"):
            assert re.fullmatch(rf"qanat_([a-z]+_)*({UNITS}|{FLAGS})", metric.name), metric.name
            assert metric.type != "counter" or re.search(rf"_({COUNTED}|bytes)$", metric.name), metric.name


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
    assert b"_created" not in body
    metrics.serve(port)()  # the port is free again


def asked(port, path, method="GET"):
    """Status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_node_says_whether_it_lives_and_whether_it_is_ready(metrics, free_port):
    port = free_port()
    stop = metrics.serve(port)
    try:
        assert asked(port, "/healthz") == asked(port, "/readyz") == (200, "ok\n")  # with a flow file
        described = NodeDescription(True, "", "", [], [])
        metrics.describe = lambda: described
        assert asked(port, "/readyz") == (503, "no master has said yet what to run\n")
        web = LogicalDescription("web", "OPENING", wanted="b", running="", attempts=0)
        described = NodeDescription(True, "r1", "", [], [web])
        assert asked(port, "/readyz") == (503, "does not run yet: web\n")
        former = LogicalDescription("web", "ACTIVE", wanted="b", running="a", attempts=3)
        waiting = LogicalDescription("idle", "IDLE", wanted="", running="", attempts=0)
        described = NodeDescription(False, "r1", "", [], [former, waiting])
        assert asked(port, "/readyz") == (200, "ok\n")
        metrics.store_connected.set(0)
        assert asked(port, "/readyz") == (503, "the coordination store does not answer\n")
        assert asked(port, "/healthz") == (200, "ok\n")
    finally:
        stop()


@pytest.mark.parametrize(("path", "method", "status"), [("/nothing", "GET", 404), ("/healthz", "POST", 405)])
def test_what_a_node_does_not_serve_is_answered_as_masters_do(metrics, free_port, path, method, status):
    port = free_port()
    stop = metrics.serve(port)
    try:
        code, body = asked(port, path, method)
        assert code == status
        assert json.loads(body)["error"]["message"]
        assert asked(port, path, "HEAD")[0] == (404 if status == 404 else 200)
    finally:
        stop()


def parsed(metrics):
    """As Prometheus reads them: `(name, labels) -> value`."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def test_node_under_masters_says_what_it_should_run_and_what_it_runs(metrics):
    web = LogicalDescription("web", "NO_PROGRESS", wanted="b", running="a", attempts=2)
    metrics.describe = lambda: NodeDescription(True, "r2", "r1", ["ACTIVE", "NO_PROGRESS"], [web])
    found = parsed(metrics)
    node = ("logical_node", "web")
    assert found["qanat_statement_info", node, ("running", "a"), ("wanted", "b")] == 1
    assert found["qanat_statement_applied", node] == 0
    assert found["qanat_statement_attempts", node] == 2
    assert found["qanat_logical_node_state", node, ("state", "NO_PROGRESS")] == 1
    assert found["qanat_logical_node_state", node, ("state", "ACTIVE")] == 0
    assert found["qanat_assignment_info", ("applied", "r1"), ("wanted", "r2")] == 1
    assert found["qanat_assignment_applied",] == 0
    assert found["qanat_master_attached",] == 1


def test_node_without_masters_says_nothing_of_them(metrics):
    assert not [name for name, *_ in parsed(metrics) if "statement" in name or "assignment" in name]


def test_positions_are_those_of_the_streams_that_moved_last(metrics):
    agent = metrics.agent("web")
    agent.moved({f"s{number}": number for number in range(100)})
    agent.moved({"s0": 7})
    found = {
        labels[-1][1]: at for (name, *labels), at in parsed(metrics).items() if name.endswith("_position")
    }
    assert len(found) == STREAMS_MAX
    assert found["s0"] == 7
    assert found["s99"] == 99
    assert metrics.collector("coll").moved({"s": 1}, "a1/web") is None
    assert value(metrics, "qanat_stream_position", logical_node="coll", stream="a1/web/s") == 1


def test_oversize_events_that_a_source_put_aside_are_dropped_ones(metrics):
    metrics.counts("web")("events_dead_lettered", 3)
    assert value(metrics, "qanat_dropped_events_total", reason="oversize") == 3


def test_ended_sender_leaves_nothing_waiting(metrics):
    agent = metrics.agent("web")
    for each in (agent.lag_bytes, agent.lag_s, agent.unacked_age_s):
        each(5)
    agent.idle()
    assert [
        value(metrics, f"qanat_{each}") for each in ("lag_bytes", "lag_seconds", "unacked_age_seconds")
    ] == [0] * 3


def test_master_counts_operations_by_outcome_and_nodes_by_state():
    metrics = MasterMetrics()
    metrics.performed("apply", "conflict", 0.5)
    metrics.performed("tap", "ok", None)
    metrics.states({"ACTIVE": 3, "ERROR": 0})
    found = parsed(metrics)
    assert found["qanat_operations_total", ("operation", "apply"), ("outcome", "conflict")] == 1
    assert found["qanat_operation_seconds_sum", ("operation", "apply")] == 0.5
    assert found["qanat_logical_nodes", ("state", "ACTIVE")] == 3
    assert ("qanat_operation_seconds_sum", ("operation", "tap")) not in found


def test_how_full_a_channel_is_stands_beside_what_it_holds_at_most() -> None:
    metrics = Metrics()
    agent = metrics.agent("web")
    agent.filled(None)
    assert "qanat_channel_bytes{" not in metrics.render().decode()
    agent.filled(Fill(bytes=5, events=2, capacity_bytes=100, capacity_events=0))
    text = metrics.render().decode()
    for line in ("bytes{%s} 5.0", "events{%s} 2.0", "capacity_bytes{%s} 100.0", "capacity_events{%s} +Inf"):
        assert "qanat_channel_" + line % 'logical_node="web"' in text


def test_each_branch_of_a_fan_out_has_its_lag() -> None:
    metrics = Metrics()
    metrics.branch_lag("coll", "1", bytes=10, events=2, seconds=0.5)
    text = metrics.render().decode()
    for line in ("bytes{%s} 10.0", "events{%s} 2.0", "seconds{%s} 0.5"):
        assert "qanat_branch_lag_" + line % 'branch="1",logical_node="coll"' in text


def test_lag_of_a_fan_out_is_the_sum_of_its_branches_bytes_and_the_age_of_the_oldest(metrics, monkeypatch):
    monkeypatch.setattr("qanat.control.measures._FRESH_S", 0.0)
    measures = Measures(metrics)
    metrics.branch_lag("coll", "1", bytes=10, events=1, seconds=3.0)
    metrics.branch_lag("coll", "2", bytes=5, events=1, seconds=70.0)
    metrics.branch_lag("other", "1", bytes=100, events=1, seconds=100.0)
    of = measures.read("coll")
    assert (of.first("qanat_branch_lag_bytes"), of.first("qanat_branch_lag_seconds")) == (15, 70.0)
    metrics.forget_branches("coll")  # another sink, with one branch
    metrics.branch_lag("coll", "1", bytes=10, events=1, seconds=3.0)
    of = measures.read("coll")
    assert (of.first("qanat_branch_lag_bytes"), of.first("qanat_branch_lag_seconds")) == (10, 3.0)
    assert measures.read("other").first("qanat_branch_lag_bytes") == 100
