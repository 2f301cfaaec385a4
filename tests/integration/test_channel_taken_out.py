"""A node of a flow file that gets a channel, and loses it again: nothing twice, nothing lost, however it ended before."""

from __future__ import annotations

from qanat.testing.cluster import LOOPBACK, Cluster, Collector
from qanat.testing.daemon import Daemon
from tests.integration.lines import append, assert_exactly_once, numbered, tail

CHANNELS = ["", "fileChannel", "", "", "fileChannel", ""]


def agent(cluster: Cluster, number: int, c1: Collector, channel: str) -> Daemon:
    """Another process of the one agent, with this channel."""
    middle = f"| {channel} " if channel else ""
    flow = cluster.directory / "flows" / "web.flow"
    flow.write_text(f'web : {tail(cluster)} {middle}| agentE2ESink("{LOOPBACK}", {c1.port}) ;\n')
    state = str(cluster.directory / "state")
    return cluster.daemon(f"a{number}", ["agent", str(flow), "--name", "a1", "--state-dir", state])


def test_a_channel_is_put_in_and_taken_out_and_put_in_again(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1")
    written = 0
    for number, channel in enumerate(CHANNELS):
        running = agent(cluster, number, c1, channel)
        cluster.start()
        append(log, numbered(written, written + 5_000))
        written += 5_000
        cluster.wait_until(lambda wanted=written: c1.stored_events() == wanted, f"{written} events")
        assert running.stop() == 0
        cluster.daemons.remove(running)
    cluster.stop()
    assert_exactly_once(c1.out, written)


def test_a_channel_comes_and_goes_while_the_agent_is_killed_in_mid_stream(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1")
    written = 0
    for number, channel in enumerate(CHANNELS):
        running = agent(cluster, number, c1, channel)
        cluster.start()
        running.wait_for("collector_welcomes")
        append(log, numbered(written, written + 300_000))
        written += 300_000
        if number + 1 < len(CHANNELS):
            cluster.wait_until(
                lambda before=written - 300_000: c1.stored_events() > before, "some to be stored"
            )
            running.kill()
            cluster.daemons.remove(running)
    cluster.wait_until(lambda: c1.stored_events() == written, "all to be stored")
    cluster.stop()
    assert_exactly_once(c1.out, written)


def test_what_a_former_channel_has_waits_for_a_collector_and_holds_up_no_stop(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1")
    first = agent(cluster, 0, c1, "fileChannel")
    size = append(log, numbered(0, 5_000))
    first.start()
    segments = cluster.directory / "state" / "agent-a1" / "web" / "channel"
    cluster.wait_until(
        lambda: sum(path.stat().st_size for path in segments.rglob("*") if path.is_file()) > size,
        "all to be in the channel",
    )
    first.kill()
    second = agent(cluster, 1, c1, "")
    second.start()
    second.wait_for("channel_changed")
    assert second.stop() == 0
    third = agent(cluster, 2, c1, "")
    third.start()
    append(log, numbered(5_000, 10_000))
    third.wait_for("channel_changed")
    c1.start()
    cluster.wait_until(lambda: c1.stored_events() == 10_000, "all to be stored")
    assert third.stop() == 0
    c1.stop()
    assert_exactly_once(c1.out, 10_000)
