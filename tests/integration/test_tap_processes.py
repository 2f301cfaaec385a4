"""What real agents, collectors and masters show of themselves: samples, counters, metrics."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from qanat.testing.cluster import free_port
from qanat.testing.daemon import wait_until
from qanat.testing.managed import ManagedCluster
from tests.integration.lines import append, numbered

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
def cluster(tmp_path):
    """Two masters, a collector and an agent that run, with metrics; `web` reads `in/*.log`, `sys` through a channel."""
    (tmp_path / "in").mkdir()
    with ManagedCluster(tmp_path, masters=2) as made:
        made.ports = {name: free_port() for name in ("a1", "c1", "m0")}
        made.managed("collector", "c1", "--metrics", str(made.ports["c1"]))
        made.managed("agent", "a1", "--metrics", str(made.ports["a1"]), role="web")
        master = made.masters[0]
        master.arguments = [
            f"127.0.0.1:{made.ports['m0']}" if each == "none" else each for each in master.arguments
        ]
        made.start()
        made.apply(
            f'web @ role=web : tail("{tmp_path}/in/*.log") | autoE2EChain ;\n'
            f'sys @ role=web : tail("{tmp_path}/in/*.log") | fileChannel | autoE2EChain ;\n'
            f'coll @ role=collector : autoCollectorSource | file("{made.out}", "x-", roll=300ms) ;\n'
        )
        yield made


def metrics(cluster, name):
    """`(name, labels) -> value`, as Prometheus reads them, and the names of all families."""
    with urllib.request.urlopen(f"http://127.0.0.1:{cluster.ports[name]}/metrics", timeout=20) as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    return values, {f"{each.name}_total" if each.type == "counter" else each.name for each in families}


def documented(title):
    """The names in a section of docs/metrics.md."""
    section = PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def stored(cluster, lines):
    state = cluster.status()
    return all(state.get(node, {}).get("events") == lines for node in (("a1", "web"), ("a1", "sys"))) and (
        state.get(("c1", "coll"), {}).get("events") == 2 * lines
    )


def test_programs_say_what_they_run_and_how_far_they_are(cluster):
    written = append(cluster.directory / "in" / "a.log", numbered(0, 1000))
    with (cluster.directory / "in" / "a.log").open("a") as file:
        file.write("a line that is not finished")
    cluster.wait_until(lambda: stored(cluster, 1000), "all to be stored, and reported")
    state = cluster.status()
    for each in state.values():
        assert (each["state"], each["lag_bytes"], each["lag_s"]) == ("ACTIVE", 0, 0.0), each
    assert list(state["a1", "web"]["positions"].values()) == [written]
    assert written in state["c1", "coll"]["positions"].values()
    assert 1000 in state["a1", "sys"]["positions"].values()  # of the channel's stream, by number
    agent, names = metrics(cluster, "a1")
    assert names <= documented("Agents and collectors")
    web = ("logical_node", "web")
    assert agent["qanat_acked_events_total", web] == 1000
    assert agent["qanat_statement_applied", web] == 1
    assert agent["qanat_logical_node_state", web, ("state", "ACTIVE")] == 1
    assert agent["qanat_master_attached",] == agent["qanat_assignment_applied",] == 1
    assert [
        at for (name, *labels), at in agent.items() if name == "qanat_stream_position" and web in labels
    ] == [written]
    collector, names = metrics(cluster, "c1")
    assert names <= documented("Agents and collectors")
    coll = ("logical_node", "coll")
    assert collector["qanat_stored_events_total", coll] == 2000
    assert collector["qanat_commits_total", coll] == collector["qanat_commit_seconds_count", coll] >= 1
    assert collector["qanat_unstored_bytes", coll] == collector["qanat_unacked_age_seconds", coll] == 0
    master, names = metrics(cluster, "m0")
    assert names <= documented("Masters")
    assert master["qanat_config_revision",] == 1
    assert master["qanat_masters",] == 2
    cluster.stop()


@pytest.mark.long
def test_outage_is_lag_with_an_age_and_in_the_end_no_progress(cluster):
    path = cluster.directory / "in" / "a.log"
    append(path, numbered(0, 100))
    cluster.wait_until(lambda: stored(cluster, 100), "all to be stored, and reported")
    (collector,) = [each for each in cluster.daemons if each.name == "c1"]
    collector.kill()
    written = append(path, numbered(100, 200))

    def is_behind():
        web = cluster.status()["a1", "web"]
        return web["lag_bytes"] >= written and max(web["lag_s"], web["unacked_age_s"]) > 1

    cluster.wait_until(is_behind, "the agent to say that it is behind")

    def is_stuck():
        return "NO_PROGRESS" in cluster.qanat("nodes", "-o", "text", "a1")

    wait_until(is_stuck, "no progress", 120)
    assert "no collector answers" in cluster.status()["a1", "web"]["why"]
    collector.start()
    cluster.wait_until(lambda: cluster.status()["a1", "web"]["events"] == 200, "the rest to be stored")
    cluster.wait_until(lambda: cluster.status()["a1", "web"]["state"] == "ACTIVE", "the agent to be active")
    cluster.stop()


def test_tap_shows_events_of_both_tiers_and_ends_when_interrupted(cluster):
    append(cluster.directory / "in" / "a.log", numbered(0, 1))
    cluster.wait_until(lambda: stored(cluster, 1), "all to be connected")
    taps = [
        tap(cluster, name, "--seconds", "600s", "--output", "json", "--grep", "seq=000000001")
        for name in ("web", "coll")
    ]
    daemons = [cluster.daemons[-1], *(each for each in cluster.daemons if each.name == "c1")]
    for daemon in daemons:
        daemon.wait_for("tap_begun")
    append(cluster.directory / "in" / "a.log", numbered(1, 100))
    for one, (physical, logical) in zip(taps, (("a1", "web"), ("c1", "coll")), strict=True):
        event = json.loads(one.stdout.readline())
        assert (event["physical"], event["logical"]) == (physical, logical)
        assert "seq=000000001" in event["body"]
        assert event["attributes"]["file"].endswith("a.log")
        one.send_signal(signal.SIGINT)
        one.communicate(timeout=60)
        assert one.returncode == 130
    for daemon in daemons:
        daemon.wait_for("tap_ended")
    cluster.stop()


def tap(cluster, *arguments):
    """`qanat tap`, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "qanat", "tap", "--master", cluster.addresses[1], *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
