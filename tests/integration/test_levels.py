"""What each level promises, through deaths of a collector."""

from __future__ import annotations

import pytest

from qanat.testing.cluster import Cluster, ledger, stored_bytes
from tests.integration.lines import PATTERN, append, assert_drains_clean, assert_exactly_once, numbered, tail
from tests.integration.tcp_proxy import proxied

LINES = 60_000
# A collector that is killed here is back at once; an agent needn't wait a second and more for it.
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}


def write(cluster: Cluster, first: int, last: int, name: str = "a") -> None:
    append(cluster.directory / "in" / f"{name}.log", numbered(first, last, name))


def stored_events(cluster: Cluster) -> int:
    """In order and once, else it fails."""
    report = ledger(cluster.out, PATTERN)
    assert (report.doubled, report.reordered) == (0, 0), report
    return report.events


@pytest.mark.parametrize("channel", ["", "| memoryChannel"])
def test_e2e_loses_nothing_when_its_collector_is_killed_again_and_again(cluster, channel):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", f"{tail(cluster)} {channel}", c1, sink="agentE2EChain({})", tune=SOON)
    cluster.start()
    for at in range(0, LINES, LINES // 3):
        write(cluster, at, at + LINES // 3)
        cluster.wait_until(lambda: c1.stored_events() > 0, "something to be stored")
        c1.kill()
        c1.start()
        c1.wait_for("sink_ready")
    cluster.wait_until_stored(len(numbered(0, LINES)))
    assert ("promise_weakened" in agent.text()) == bool(channel)
    assert_drains_clean(cluster, LINES)


@pytest.mark.parametrize(
    "channel", ["", "| spillChannel(memory=256KiB, capacity=64MiB)"], ids=["memory", "disk"]
)
def test_dfo_loses_nothing_while_its_collector_is_out_of_reach(cluster, channel):
    c1 = cluster.collector("c1", "roll=300ms")
    with proxied(c1.port) as proxy:
        agent = cluster.agent(
            "a1", f"{tail(cluster)} {channel}", proxy.address, sink="agentDFOChain({})", tune=SOON
        )
        cluster.start()
        write(cluster, 0, LINES // 2)
        cluster.wait_until(lambda: proxy.forwarded_bytes > 0, "the stream to flow")
        proxy.refuse = True
        proxy.cut()
        write(cluster, LINES // 2, LINES)
        cluster.wait_until(lambda: agent.read_events() == LINES, "the channel to take what can't be sent")
        proxy.refuse = False
        cluster.wait_until_stored(len(numbered(0, LINES)))
        cluster.stop()
    assert_exactly_once(cluster.out, LINES)
    assert "events_lost" not in agent.text()


@pytest.mark.parametrize(
    ("channel", "sink"),
    [
        ("| memoryChannel(capacity=1MiB, full=drop)", "agentBEChain({})"),
        ("", "agentBEChain({})"),
        ("", "agentDFOChain({})"),
    ],
    ids=["BE, small", "BE", "DFO"],
)
def test_what_is_not_stored_was_counted(cluster, channel, sink):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", f"{tail(cluster)} {channel}", c1, sink=sink, tune=SOON)
    cluster.start()
    for at in range(0, LINES, LINES // 3):
        write(cluster, at, at + LINES // 3)
        cluster.wait_until(lambda: c1.stored_events() > 0, "something to be stored")
        c1.kill()
        write(cluster, at, at + LINES // 3, "b")  # more than a small channel holds
        cluster.wait_until(lambda n=2 * (at + LINES // 3): agent.read_events() == n, "all to be read")
        c1.start()
        c1.wait_for("sink_ready")
    line = len(numbered(0, 1))
    cluster.wait_until(
        lambda: agent.dropped_events() + stored_bytes(cluster.out) // line == 2 * LINES, "stored or counted"
    )
    lost = agent.dropped_events()
    assert lost > 0 or not channel
    cluster.stop()
    assert stored_events(cluster) + lost == 2 * LINES
    assert ("events_lost" in agent.text()) == (lost > 0)
