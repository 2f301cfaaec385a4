"""Channels that keep what they have, under an agent that dies."""

from __future__ import annotations

import pytest

from tests.integration.lines import append, assert_drains_clean, assert_exactly_once, numbered, tail

LINES = 60_000
SOON = {"agent.delivery.RETRY_S_MAX": 0.2}


@pytest.mark.parametrize("channel", ["fileChannel", "sqlChannel"])
def test_agent_killed_again_and_again_loses_and_doubles_nothing(cluster, channel):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", f"{tail(cluster)} | {channel}", c1, tune=SOON)
    cluster.start()
    for at in range(0, LINES, LINES // 4):
        append(cluster.directory / "in" / "a.log", numbered(at, at + LINES // 4))
        cluster.wait_until(lambda: agent.read_events() > 0, "the channel to be fed")
        agent.kill()
        agent.start()
    cluster.wait_until_stored(len(numbered(0, LINES)))  # by an earlier life, perhaps
    agent.wait_for("agent_started")
    assert "promise_weakened" not in agent.text()
    assert_drains_clean(cluster, LINES)


def test_channel_keeps_what_its_source_no_longer_has(cluster):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", f"{tail(cluster)} | fileChannel", c1, tune=SOON)
    log = cluster.directory / "in" / "a.log"
    append(log, numbered(0, LINES))
    agent.start()
    cluster.wait_until(lambda: agent.read_events() == LINES, "all to be in the channel")
    assert agent.stop() == 0
    log.unlink()
    cluster.start()
    cluster.wait_until_stored(len(numbered(0, LINES)))
    cluster.stop()
    assert_exactly_once(cluster.out, LINES)


def test_stopping_agent_delivers_what_is_in_memory(cluster):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", f"{tail(cluster)} | memoryChannel", c1, tune=SOON)
    append(cluster.directory / "in" / "a.log", numbered(0, LINES))
    agent.start()
    cluster.wait_until(lambda: agent.read_events() == LINES, "all to be in the channel")
    agent.terminate()
    agent.wait_for("agent_draining")
    c1.start()
    assert agent.wait() == 0
    assert "channel_discarded" not in agent.text()
    cluster.stop()
    assert_exactly_once(cluster.out, LINES)


def test_stopping_agent_says_what_it_leaves_behind(cluster):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent(
        "a1", f"{tail(cluster)} | memoryChannel", c1, tune=SOON | {"agent.standalone.DRAIN_S_MAX": 0.5}
    )
    append(cluster.directory / "in" / "a.log", numbered(0, 1000))
    agent.start()
    cluster.wait_until(lambda: agent.read_events() == 1000, "all to be in the channel")
    assert agent.stop() == 0
    assert "channel_discarded" in agent.text()
    assert "events=1000" in agent.text()
