"""What real agents, collectors and masters show of themselves: samples, counters, metrics."""

from __future__ import annotations

import contextlib
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
        made.ports = {"a1": free_port(), "c1": free_port(), "m0": int(made.http[0].rpartition(":")[2])}
        made.managed("collector", "c1", "--metrics", str(made.ports["c1"]))
        made.managed("agent", "a1", "--metrics", str(made.ports["a1"]), role="web")
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


def test_tap_goes_on_at_another_master_when_its_own_dies(cluster):
    path = cluster.directory / "in" / "a.log"
    append(path, numbered(0, 1))
    cluster.wait_until(lambda: stored(cluster, 1), "all to be connected")
    with (
        tap(
            cluster, "web", "--seconds", "600s", "--events", "3", masters=cluster.addresses, said="it"
        ) as one,
        killed(one),
    ):
        agent = cluster.daemons[-1]
        agent.wait_for("tap_begun")
        append(path, numbered(1, 2))
        assert "seq=0000000001" in one.stdout.readline()
        # Whichever it asked: the other one knows all there is to be known.
        begun = agent.text().count("tap_begun")
        asked = next(each for each in cluster.masters if _serves(each, one.pid))
        asked.kill()
        wait_until(lambda: agent.text().count("tap_begun") > begun, "the agent to be tapped again")
        append(path, numbered(2, 4))
        shown, said = one.communicate(timeout=60)
        assert [re.findall(r"seq=(\d+)", line)[0] for line in shown.splitlines()] == [
            "0000000002",
            "0000000003",
        ]
        assert one.returncode == 0
        assert "looking for another master" in said
        assert "3 events" in said
        asked.start()
        cluster.stop()


def test_tap_says_that_no_master_answers_any_more(cluster):
    append(cluster.directory / "in" / "a.log", numbered(0, 1))
    cluster.wait_until(lambda: stored(cluster, 1), "all to be connected")
    with tap(cluster, "web", "--seconds", "8s", masters=cluster.addresses, said="it") as one, killed(one):
        cluster.daemons[-1].wait_for("tap_begun")
        for master in cluster.masters:
            master.kill()
        _, said = one.communicate(timeout=120)
        assert one.returncode == 3
        assert "no master answers" in said or "went away" in said
        for master in cluster.masters:
            master.start()
        cluster.stop()


@contextlib.contextmanager
def killed(process):
    """It does not outlive a test that fails."""
    try:
        yield
    finally:
        process.kill()


def _serves(master, pid):
    """Whether the process is connected to this master."""
    port = int(master.arguments[master.arguments.index("--listen") + 1].rpartition(":")[2])
    inodes = {_inode(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    tables = [Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:] for table in ("tcp", "tcp6")]
    for line in (line for table in tables for line in table):  # gRPC maps addresses of IPv4
        fields = line.split()
        if fields[9] in inodes and int(fields[2].rpartition(":")[2], 16) == port and fields[3] == "01":
            return True
    return False


def _inode(link):
    try:
        return link.readlink().name.removeprefix("socket:[").removesuffix("]")
    except OSError:
        return ""


def tap(cluster, *arguments, masters=(), said=None):
    """`qanat tap`, running."""
    asked = ",".join(masters or [cluster.addresses[1]])
    return subprocess.Popen(
        [sys.executable, "-m", "qanat", "tap", "--master", asked, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if said else subprocess.DEVNULL,
        text=True,
    )
