"""Fan-out on the agent: a dead branch neither blocks nor doubles the others, and catches up by itself."""

from __future__ import annotations

import pytest

from qanat.testing.cluster import Cluster, metric, stored_bytes
from tests.integration.lines import append, assert_exactly_once, numbered, tail

LINES = 30_000
LINE_BYTES = len(numbered(0, 1))
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}
BOTH = "[ agentE2EChain({0}), agentE2EChain({1}) ]"


def write(cluster: Cluster, first: int, last: int) -> None:
    append(cluster.directory / "in" / "a.log", numbered(first, last))


def wait_until_stored(cluster, collector, lines):
    cluster.wait_until(
        lambda: stored_bytes(collector.out) >= lines * LINE_BYTES, f"{lines} lines in {collector.out}"
    )


@pytest.mark.parametrize("channel", ["", "| memoryChannel"])
def test_dead_branch_holds_nobody_up_and_catches_up(cluster, channel):
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    agent = cluster.agent("a1", f"{tail(cluster)} {channel}", c1, c2, sink=BOTH, tune=SOON)
    write(cluster, 0, LINES)
    c1.start()
    agent.start()
    wait_until_stored(cluster, c1, LINES)
    c2.start()
    wait_until_stored(cluster, c2, LINES)
    c2.kill()
    write(cluster, LINES, 2 * LINES)
    wait_until_stored(cluster, c1, 2 * LINES)
    c2.start()
    wait_until_stored(cluster, c2, 2 * LINES)
    cluster.stop()
    for collector in (c1, c2):
        assert_exactly_once(collector.out, 2 * LINES)


def test_flow_that_becomes_a_fan_out_goes_on_where_it_was(cluster):
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    agent = cluster.agent("a1", tail(cluster), c1, c2, sink="agentE2EChain({0})", tune=SOON)
    write(cluster, 0, LINES)
    cluster.start()
    wait_until_stored(cluster, c1, LINES)
    agent.kill()
    cluster.agent("a1", tail(cluster), c1, c2, sink=BOTH, tune=SOON)
    write(cluster, LINES, 2 * LINES)
    cluster.daemons.remove(agent)
    cluster.start()
    for collector in (c1, c2):
        wait_until_stored(cluster, collector, 2 * LINES)
    cluster.stop()
    for collector in (c1, c2):
        assert_exactly_once(collector.out, 2 * LINES)


@pytest.mark.parametrize("channel", ["", "| memoryChannel(capacity=200KiB)"])
def test_required_branch_is_waited_for(cluster, channel):
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    sink = "[ agentE2EChain({0}), agentE2EChain({1}, required=true) ]"
    window = {"agent.abreast.WINDOW_BYTES": 200_000, "qanat.limits.BATCH_BYTES_TARGET": 50_000}
    agent = cluster.agent("a1", f"{tail(cluster)} {channel}", c1, c2, sink=sink, tune=SOON | window)
    write(cluster, 0, LINES)
    c1.start()
    agent.start()
    wait_until_stored(cluster, c1, 1)
    cluster.wait_until(lambda: metric(agent.metrics_port, "qanat_unacked_age_seconds") == 0, "acks")
    assert stored_bytes(c1.out) < 300_000
    c2.start()
    for collector in (c1, c2):
        wait_until_stored(cluster, collector, LINES)
    cluster.stop()
    for collector in (c1, c2):
        assert_exactly_once(collector.out, LINES)
