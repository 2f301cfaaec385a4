"""Two collectors: death, deafness, takeover, fencing, and the way back."""

from __future__ import annotations

import pytest

from qanat.testing.cluster import Cluster
from tests.integration.lines import append, assert_drains_clean, numbered, tail

# Instead of half a minute of good answers before an agent returns to its preferred collector.
RETURNS_SOON = {"agent.delivery.PROBE_S": 0.1}
# Instead of ten seconds until a peer that says nothing is given up.
DEAF_SOON = {"qanat.rpc.options.HEARTBEAT_S": 0.2}


class Busy:
    """A log file that grows whenever it is asked to."""

    def __init__(self, cluster: Cluster) -> None:
        self.path = cluster.directory / "in" / "a.log"
        self.lines = self.bytes = 0

    def write(self, lines: int) -> None:
        self.bytes += append(self.path, numbered(self.lines, self.lines + lines))
        self.lines += lines


@pytest.fixture
def busy(cluster):
    return Busy(cluster)


def test_second_collector_takes_over_when_the_first_is_killed_in_mid_stream(cluster, busy):
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    agent = cluster.agent("a1", tail(cluster), c1, c2)
    busy.write(300_000)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() > 0 or agent.read_events() > 0, "the stream to flow")
    c1.kill()
    busy.write(10_000)
    cluster.wait_until(lambda: c2.stored_events() > 0, "the second collector to store")
    assert "claim_taken_over" in c2.text()
    c1.start()
    c1.wait_for("sink_ready")
    cluster.wait_until_stored(busy.bytes)
    assert_drains_clean(cluster, busy.lines)


def test_every_collector_may_die_and_come_back(cluster, busy):
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    cluster.agent("a1", tail(cluster), c1, c2)
    cluster.start()
    for victim, other in ((c1, c2), (c2, c1), (c1, c2)):
        before = other.stored_events()
        victim.kill()
        busy.write(5_000)
        cluster.wait_until(lambda o=other, n=before: o.stored_events() > n, f"{other.name} to store")
        victim.start()
        victim.wait_for("sink_ready")
    cluster.wait_until_stored(busy.bytes)
    assert_drains_clean(cluster, busy.lines)


def test_agent_returns_to_its_preferred_collector_by_a_handover(cluster, busy):
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    agent = cluster.agent("a1", tail(cluster), c1, c2, tune=RETURNS_SOON)
    c2.start()
    agent.start()
    busy.write(5_000)
    cluster.wait_until(lambda: c2.stored_events() == 5_000, "the second collector to store")
    c1.start()
    agent.wait_for("collector_preferred_is_back")
    busy.write(5_000)
    cluster.wait_until(lambda: c1.stored_events() > 0, "the first collector to store")
    assert "claim_taken_over" not in c1.text(), "a planned move releases the claim: nobody is fenced"
    assert "transaction_aborted" not in c2.text()
    cluster.wait_until_stored(busy.bytes)
    assert_drains_clean(cluster, busy.lines)


def test_paused_owner_stores_nothing_more_after_a_takeover(cluster, busy):
    c1, c2 = (cluster.collector(name, "roll=300ms", commit="1s", tune=DEAF_SOON) for name in ("c1", "c2"))
    agent = cluster.agent("a1", tail(cluster), c1, c2, tune=DEAF_SOON)
    busy.write(100)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == 100, "the first collector to store")
    busy.write(50_000)
    cluster.wait_until(
        lambda: agent.read_events() > 100, "a batch that the first collector may hold uncommitted"
    )
    c1.pause()
    cluster.wait_until(lambda: c2.stored_events() > 0, "the second collector to store")
    c1.resume()
    busy.write(1_000)
    cluster.wait_until_stored(busy.bytes)
    c1.wait_for("transaction_aborted")
    assert_drains_clean(cluster, busy.lines)


@pytest.mark.parametrize("moment", range(3))
def test_owner_paused_at_any_moment_stores_nothing_that_its_successor_stores(cluster, busy, moment):
    c1, c2 = (cluster.collector(name, "roll=100ms", commit="5ms", tune=DEAF_SOON) for name in ("c1", "c2"))
    cluster.agent("a1", tail(cluster), c1, c2, tune=DEAF_SOON)
    cluster.start()
    busy.write(200_000)
    cluster.wait_until(lambda: c1.stored_events() > moment * 60_000, "the first collector to commit")
    c1.pause()  # between an append and a publish, wherever it is now
    busy.write(100)
    cluster.wait_until(lambda: "claim_taken_over" in c2.text(), "the takeover")
    c1.resume()
    cluster.wait_until_stored(busy.bytes)
    busy.write(1)
    cluster.wait_until_stored(busy.bytes)
    assert_drains_clean(cluster, busy.lines)


def test_file_rotated_before_any_collector_was_there_is_stored_too(cluster, busy):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", tail(cluster), c1)
    agent.start()
    agent.wait_for("agent_started")
    busy.write(1_000)
    agent.wait_for("collector_lost")  # it runs, has no state yet, and can't ask anybody
    busy.path.rename(busy.path.with_suffix(".log.1"))
    busy.write(1_000)
    c1.start()
    cluster.wait_until_stored(busy.bytes, 15)
    assert_drains_clean(cluster, busy.lines)
