"""A network that cuts, stalls and delays between agent and collector."""

from __future__ import annotations

import random

from qanat.testing.cluster import stored_bytes
from tests.integration.lines import append, assert_drains_clean, numbered, tail
from tests.integration.tcp_proxy import proxied


def test_connection_cut_again_and_again_costs_nothing(cluster):
    c1 = cluster.collector("c1", "roll=300ms", commit="20ms")
    with proxied(c1.port) as proxy:
        agent = cluster.agent("a1", tail(cluster), proxy.address)
        written = append(cluster.directory / "in" / "a.log", numbered(0, 400_000))
        cluster.start()
        chance = random.Random(7)
        for _ in range(8):
            wanted = proxy.forwarded_bytes + chance.randrange(1, 3 << 20)
            cluster.wait_until(
                lambda n=wanted: proxy.forwarded_bytes > n or stored_bytes(cluster.out) == written, "traffic"
            )
            proxy.cut()
        cluster.wait_until_stored(written)
        assert agent.starts == c1.starts == 1
        assert_drains_clean(cluster, 400_000)


def test_lost_acks_double_nothing(cluster):
    c1 = cluster.collector("c1", "roll=300ms", commit="20ms")
    lines = written = 0

    def write(count):
        nonlocal lines, written
        written += append(cluster.directory / "in" / "a.log", numbered(lines, lines + count))
        lines += count
        cluster.wait_until(lambda: c1.stored_events() == lines, "the commit")

    with proxied(c1.port) as proxy:
        cluster.agent("a1", tail(cluster), proxy.address)
        cluster.start()
        for _ in range(3):
            write(1)  # the stream is open
            proxy.stall_replies = True
            write(1_000)
            proxy.cut()
            cluster.wait_until(lambda: not proxy.open_connections, "the cut")
            proxy.stall_replies = False
        write(1)
        cluster.wait_until_stored(written)
        assert_drains_clean(cluster, lines)
        assert c1.text().count("sender_connected") >= 4


def test_delayed_acks_hold_the_agent_back_and_lose_nothing(cluster):
    c1 = cluster.collector("c1", "roll=300ms", commit="20ms")
    with proxied(c1.port) as proxy:
        agent = cluster.agent("a1", tail(cluster), proxy.address)
        cluster.start()
        agent.wait_for("collector_welcomes")
        written = append(cluster.directory / "in" / "a.log", numbered(0, 1))
        cluster.wait_until(lambda: c1.stored_events() == 1, "the stream to be open")
        proxy.stall_replies = True
        written += append(cluster.directory / "in" / "a.log", numbered(1, 50_000))
        cluster.wait_until(lambda: c1.stored_events() > 1, "a commit")
        proxy.stall_replies = False
        cluster.wait_until_stored(written)
        assert_drains_clean(cluster, 50_000)


def test_network_that_is_silent_for_long_is_given_up_and_tried_again(cluster):
    deaf_soon = {"qanat.rpc.options.HEARTBEAT_S": 0.2}
    c1 = cluster.collector("c1", "roll=300ms", tune=deaf_soon)
    with proxied(c1.port) as proxy:
        agent = cluster.agent("a1", tail(cluster), proxy.address, tune=deaf_soon)
        cluster.start()
        agent.wait_for("collector_welcomes")
        proxy.stall = True
        written = append(cluster.directory / "in" / "a.log", numbered(0, 50_000))
        agent.wait_for("collector_lost")
        proxy.stall = False
        cluster.wait_until_stored(written)
        assert_drains_clean(cluster, 50_000)
