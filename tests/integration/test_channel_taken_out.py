"""A node that gets a channel, and loses it again: nothing twice, nothing lost, after clean stops."""

from __future__ import annotations

from qanat.testing.cluster import LOOPBACK
from tests.integration.lines import append, assert_exactly_once, numbered, tail


def test_a_channel_is_put_in_and_taken_out_and_put_in_again(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1")
    written = 0
    for number, channel in enumerate(["", "fileChannel", "", "", "fileChannel", ""]):
        middle = f"| {channel} " if channel else ""
        flow = cluster.directory / "flows" / "web.flow"
        flow.write_text(f'web : {tail(cluster)} {middle}| agentE2ESink("{LOOPBACK}", {c1.port}) ;\n')
        state = str(cluster.directory / "state")
        agent = cluster.daemon(f"a{number}", ["agent", str(flow), "--name", "a1", "--state-dir", state])
        cluster.start()
        append(log, numbered(written, written + 5_000))
        written += 5_000
        cluster.wait_until(lambda wanted=written: c1.stored_events() == wanted, f"{written} events")
        assert agent.stop() == 0
        cluster.daemons.remove(agent)
    cluster.stop()
    assert_exactly_once(c1.out, written)
