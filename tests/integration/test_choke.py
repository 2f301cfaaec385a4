"""Rate limits that change while events flow: `qanat limit`, choke on agents and collectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.testing.cluster import written_lines
from qanat.testing.managed import ManagedCluster
from tests.integration.lines import append, assert_drains_clean, assert_exactly_once, numbered, tail

LINES = 5_000


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[ManagedCluster]:
    (tmp_path / "in").mkdir()
    with ManagedCluster(tmp_path) as made:
        yield made


@pytest.mark.parametrize("tier", ["agent", "collector"])
def test_a_limit_holds_events_back_until_it_is_lifted(managed, tier):
    choke = {"agent": "", "collector": "", tier: 'choke("slow") '}
    collector = managed.managed("collector", "c1")
    agent = managed.managed("agent", "a1", role="web")
    managed.start()
    managed.qanat("limit", "slow", "--bytes-s", "1000")
    append(managed.directory / "in" / "a.log", numbered(0, LINES))
    managed.apply(
        f'web @ role=web : tail("{managed.directory}/in/*.log") | {choke["agent"]}autoE2EChain ;\n'
        f'coll @ role=collector : autoCollectorSource | {choke["collector"]}file("{managed.out}", "web-", roll=300ms) ;\n'
    )

    def stored() -> int:
        return int(managed.status().get(("c1", "coll"), {}).get("events", 0))

    if tier == "agent":  # on a collector what was sent at once is taken at once, and then there is a pause
        managed.wait_until(stored, "something to get through")
        assert stored() < LINES  # 1000 bytes a second, of 180 KB
        kept = managed.directory / "state" / "agent-a1" / "limits.json"  # for a start without any master
        assert "slow" in json.loads(kept.read_text())
    shown = json.loads(managed.qanat("limit", "--output", "json"))
    assert shown["limits"] == [{"id": "slow", "events_s": 0.0, "bytes_s": 1000.0}]
    assert 'did you mean "slow"?' in managed.qanat("limit", "slwo", fails=True)
    managed.qanat("limit", "slow", "--delete")
    managed.wait_until(lambda: stored() == LINES, "everything, once nothing is limited")
    assert managed.status()[("a1", "web")]["attempts"] == 0
    assert agent.is_running
    assert collector.is_running
    assert json.loads(managed.qanat("limit", "--output", "json"))["limits"] == []
    assert_drains_clean(managed, LINES)


def test_arguments_of_choke_limit_without_masters(cluster):
    append(cluster.directory / "in" / "a.log", numbered(0, LINES))
    c1 = cluster.collector("c1")
    a1 = cluster.agent("a1", tail(cluster), c1, sink='choke("slow", events_s=50) agentE2EChain({})')
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() > 0, "something is stored")
    assert a1.read_events() < LINES
    cluster.stop()
    assert c1.out.exists()
    (cluster.directory / "flows" / "a1.flow").write_text(
        f'web : {tail(cluster)} | choke("slow") agentE2EChain("{c1.address}") ;\n'
    )
    cluster.start()
    cluster.wait_until(lambda: written_lines(c1.out) == LINES, "the rest")
    cluster.stop()
    assert_exactly_once(c1.out, LINES)
