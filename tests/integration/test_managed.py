"""Nodes under masters, as real processes: configured, reconfigured under load, moved, and left alone."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.testing.cluster import free_port, published, stored_bytes
from qanat.testing.control import AdminClient
from qanat.testing.daemon import DaemonError, wait_until
from qanat.testing.managed import ManagedCluster
from tests.integration.lines import append, assert_drains_clean, assert_exactly_once, numbered


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ManagedCluster]:
    """Two masters, not started, and a directory `in` for log files."""
    (tmp_path / "in").mkdir()
    with ManagedCluster(tmp_path, masters=2) as made:
        yield made


def collect(cluster, sink_options="roll=300ms", name="coll"):
    """A logical node for every collector."""
    return (
        f'{name} @ role=collector : autoCollectorSource | file("{cluster.out}", "web-", {sink_options}) ;\n'
    )


def read(cluster, options="", sink="autoE2EChain"):
    """A logical node for agents labelled role=web."""
    comma = ", " if options else ""
    return f'web @ role=web : tail("{cluster.directory}/in/*.log"{comma}{options}) | {sink} ;\n'


def applied(cluster, physical, logical):
    """It runs what it should."""
    return cluster.status().get((physical, logical), {}).get("progress") == "applied"


def is_well(cluster, *names):
    """What `qanat status --exit-code` says."""
    try:
        cluster.qanat("status", "--exit-code", *names)
    except DaemonError:
        return False
    return True


def test_lines_arrive_after_one_apply_through_any_master(cluster):
    cluster.managed("collector", "c1")
    cluster.managed("agent", "a1", role="web")
    cluster.start()
    written = append(cluster.directory / "in" / "a.log", numbered(0, 5_000))
    cluster.apply(read(cluster) + collect(cluster))
    cluster.wait_until_stored(written)
    cluster.qanat("wait", "active", "web", "coll")
    state = cluster.status()[("a1", "web")]
    assert (state["state"], state["progress"], state["why"]) == ("ACTIVE", "applied", "")
    cluster.wait_until(
        lambda: cluster.status()[("a1", "web")]["events"] == 5_000, "the agent to report 5,000 events"
    )
    assert cluster.status()[("c1", "coll")]["events"] == 5_000
    assert_drains_clean(cluster, 5_000)


@pytest.mark.parametrize("channel", ["", "| fileChannel"])
def test_what_has_an_end_is_waited_for_until_it_is_stored(cluster, channel):
    file = cluster.directory / "import.log"
    written = append(file, numbered(0, 5_000))
    cluster.managed("collector", "c1")
    cluster.managed("agent", "a1", role="web")
    cluster.start()
    waits = f'waits @ role=web : text("{cluster.directory}/never.log") | autoE2EChain ;\n'
    cluster.apply(f'once @ role=web : text("{file}") {channel} | autoE2EChain ;\n' + waits + collect(cluster))
    cluster.qanat("wait", "done", "once", "--timeout", "60s")
    assert cluster.status()[("a1", "once")]["events"] == 5_000
    assert cluster.status()[("a1", "waits")]["state"] == "ACTIVE"
    cluster.qanat("wait", "active", "once", "waits", "coll")  # what has done its work was active
    cluster.wait_until_stored(written)


def test_nothing_is_lost_doubled_or_reordered_while_both_tiers_are_reconfigured_ten_times(cluster):
    cluster.managed("collector", "c1")
    cluster.managed("collector", "c2")
    cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster))
    cluster.wait_until(lambda: len(_addresses(cluster)) == 2, "both collectors to listen")
    with Writer(cluster.directory / "in" / "a.log") as writer:
        for round_ in range(10):
            sink = "autoE2EChain" if round_ % 3 else f"< {' ? '.join(_sinks(cluster, round_))} >"
            roll = f"roll={200 + round_ % 2 * 100}ms"
            cluster.apply(read(cluster, f"poll_interval={round_ + 1}s", sink) + collect(cluster, roll))
    cluster.wait_until_stored(writer.path.stat().st_size)
    assert cluster.status()[("a1", "web")]["attempts"] == 0
    assert_all_once(cluster, writer.lines)
    cluster.stop()
    assert_all_once(cluster, writer.lines)


def test_nothing_is_lost_doubled_or_reordered_while_a_channel_comes_and_goes(cluster):
    cluster.managed("collector", "c1")
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster))
    channels = [
        "fileChannel | autoE2EChain",
        "autoE2EChain",
        "fileChannel(events=5000) | autoE2EChain",
        "autoDFOChain",
    ]
    with Writer(cluster.directory / "in" / "a.log") as writer:
        for sink in [*channels, *channels[:2]]:
            cluster.apply(read(cluster, sink=sink))
    cluster.wait_until_stored(writer.path.stat().st_size)
    assert_drains_clean(cluster, writer.lines)
    assert "Traceback" not in a1.text()


def test_agent_that_is_killed_while_its_channel_is_replaced_stores_every_line_once(cluster):
    cluster.managed("collector", "c1")
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster))
    chance = random.Random(7)
    with Writer(cluster.directory / "in" / "a.log") as writer:
        for sink in ["fileChannel | autoE2EChain", "autoE2EChain"] * 3:
            cluster.qanat("apply", "-", "--yes", stdin=read(cluster, sink=sink))
            time.sleep(chance.random())  # somewhere between being told and being done
            a1.kill()
            a1.start()
            cluster.wait_until(lambda: applied(cluster, "a1", "web"), "the change to be made in the end")
    cluster.wait_until_stored(writer.path.stat().st_size)
    assert_drains_clean(cluster, writer.lines)


def test_node_that_was_away_for_a_week_ends_what_it_ran_and_runs_what_is_configured_now(cluster):
    """Its version is not in the history any more; it was removed and came back, and has another channel."""
    cluster.managed("collector", "c1")
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster, sink="fileChannel | autoE2EChain") + collect(cluster))
    written = append(cluster.directory / "in" / "a.log", numbered(0, 1_000))
    cluster.wait_until_stored(written)
    a1.kill()
    written += append(cluster.directory / "in" / "a.log", numbered(1_000, 2_000))

    async def a_week():
        async with AdminClient(cluster.addresses[0]) as admin:
            await admin("unconfig", names=["web"])
            for number in range(55):
                await admin("apply", text=read(cluster, f"poll_interval={number + 1}s"))

    asyncio.run(a_week())
    cluster.wait_until(
        lambda: "\n2\t" not in "\n" + cluster.qanat("history", "web", "-o", "text"),
        "the history to be pruned",
    )
    a1.start()
    cluster.wait_until(lambda: applied(cluster, "a1", "web"), "the agent to run what is configured")
    assert "poll_interval=55s" in (cluster.state / "agent-a1" / "assignment.json").read_text()
    written += append(cluster.directory / "in" / "a.log", numbered(2_000, 3_000))
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 3_000)


def test_bad_configuration_pushed_to_one_of_ten_agents_leaves_all_ten_running(cluster):
    cluster.managed("collector", "c1")
    agents = [cluster.managed("agent", f"a{number}", role="web") for number in range(10)]
    cluster.start()
    source = f"{cluster.directory}/in/%s.log"
    flows = [f'web{number} @ name=a{number} : tail("{source % number}") | ' for number in range(10)]
    cluster.apply("".join(f"{flow}autoE2EChain ;\n" for flow in flows) + collect(cluster))
    (cluster.state / "agent-a3" / "web3" / "channel").write_text("in the way")
    bad = f"{flows[3]}fileChannel | autoE2EChain ;\n"
    said = cluster.qanat("apply", "-", "--yes", "--wait", "--timeout", "3s", stdin=bad, fails=True)
    assert "web3" in said
    written = sum(
        append(cluster.directory / "in" / f"{number}.log", numbered(number * 100, number * 100 + 100))
        for number in range(10)
    )
    cluster.wait_until_stored(written)
    assert all(agent.is_running for agent in agents)
    rows = cluster.status()
    assert [rows[f"a{number}", f"web{number}"]["progress"] for number in range(10) if number != 3] == [
        "applied"
    ] * 9
    assert rows["a3", "web3"]["progress"] == "failed"


class Writer:
    """A context manager: lines are written all the time, `lines` in the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._done.wait(0.01):
            append(self.path, numbered(self.lines, self.lines + 200))
            self.lines += 200


def _sinks(cluster, round_):
    """Both collectors, as a failover written by hand; first one and then the other."""
    hosts = [address.rpartition(":") for address in _addresses(cluster)]
    sinks = [f'agentE2ESink("{host}", {port})' for host, _, port in hosts]
    return sinks if round_ % 2 else sinks[::-1]


def _addresses(cluster):
    """Where collectors listen, as far as they do: one that is being switched doesn't for a moment."""
    rows = sorted(cluster.status().items())
    return [each["address"] for (_, logical), each in rows if logical == "coll" and each["address"]]


def assert_all_once(cluster, lines):
    """Over both collectors' files: every line once, and those of each file in order."""
    numbers = []
    for path in published(cluster.out):
        found = [int(line.split(b"seq=")[1][:10]) for line in path.read_bytes().splitlines()]
        assert found == sorted(found), f"{path} is out of order"
        numbers += found
    assert sorted(numbers) == list(range(lines))


def test_node_moves_to_another_master_when_its_own_is_killed(cluster):
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    a1.wait_for("master_attached")
    first = 0 if "master=m0" in a1.text() else 1
    cluster.masters[first].kill()
    a1.wait_for(f"master_attached                master=m{1 - first}")
    cluster.managed("collector", "c1").start()
    cluster.apply(read(cluster) + collect(cluster))
    written = append(cluster.directory / "in" / "a.log", numbered(0, 100))
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 100)


def test_bad_configuration_of_one_node_leaves_it_and_the_others_running(cluster):
    cluster.managed("collector", "c1")
    cluster.managed("agent", "a1", role="web")
    cluster.managed("agent", "a2", role="web")
    cluster.start()
    mine = f'mine @ name=a1 : tail("{cluster.directory}/in/*.txt") | autoE2EChain ;\n'
    cluster.apply(read(cluster) + collect(cluster) + mine)
    cluster.qanat("wait", "active", "mine", "web", "coll")
    # What only the host can know: a state that is a file, where a channel needs a directory.
    (cluster.state / "agent-a1" / "mine" / "channel").write_text("in the way")
    bad = f'mine @ name=a1 : tail("{cluster.directory}/in/*.txt") | fileChannel | autoE2EChain ;\n'
    said = cluster.qanat("apply", "-", "--yes", "--wait", "--timeout", "5s", stdin=bad, fails=True)
    assert "mine" in said
    failed = cluster.status("mine")[("a1", "mine")]
    assert failed["progress"] == "failed"
    assert "channel" in failed["why"]
    assert failed["running"] != failed["wanted"]
    written = append(cluster.directory / "in" / "a.txt", numbered(0, 100))
    cluster.wait_until_stored(written)  # the old statement goes on
    # A node that masters even out among each other is nobody's for a moment.
    wait_until(lambda: is_well(cluster, "web", "coll"), "the others to run as before")
    cluster.qanat("status", "--exit-code", fails=True)
    (cluster.state / "agent-a1" / "mine" / "channel").unlink()
    cluster.wait_until(lambda: applied(cluster, "a1", "mine"), "the change to be made in the end")
    cluster.qanat("rollback", "mine", "1", "--yes", "--wait")
    assert applied(cluster, "a1", "mine")
    written += append(cluster.directory / "in" / "a.txt", numbered(100, 200))
    cluster.wait_until_stored(written)
    cluster.stop()
    assert_exactly_once(cluster.out, 200)


def test_restarted_nodes_run_what_they_ran_last_while_no_master_answers(cluster):
    c1 = cluster.managed("collector", "c1")
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster))
    cluster.qanat("wait", "active", "web", "coll")
    written = append(cluster.directory / "in" / "a.log", numbered(0, 1000))
    cluster.wait_until_stored(written)
    for daemon in (*cluster.masters, a1, c1):
        daemon.kill()
    written += append(cluster.directory / "in" / "a.log", numbered(1000, 2000))
    c1.start()
    a1.start()
    cluster.wait_until_stored(written)
    cluster.masters[1].start()
    a1.wait_for("master_attached")
    cluster.apply(read(cluster, "poll_interval=2s") + collect(cluster))
    written += append(cluster.directory / "in" / "a.log", numbered(2000, 3000))
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 3000)


def test_collector_that_is_added_serves_and_one_that_stops_is_left(cluster):
    c1 = cluster.managed("collector", "c1")
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster))
    cluster.qanat("wait", "active", "web", "coll")
    cluster.managed("collector", "c2").start()
    cluster.wait_until(lambda: applied(cluster, "c2", "coll"), "the second collector to run")
    c2_address = cluster.status()[("c2", "coll")]["address"]
    last_good = cluster.state / "agent-a1" / "assignment.json"
    cluster.wait_until(
        lambda: c2_address.rpartition(":")[2] in last_good.read_text(), "the second collector in the chain"
    )
    assert "logical_node_amended" in a1.text()  # it keeps its collector for now: nothing is drained for it
    assert c1.stop() == 0
    cluster.wait_until(
        lambda: last_good.read_text().count("agentE2ESink") == 1, "the first collector out of the chain"
    )
    written = append(cluster.directory / "in" / "a.log", numbered(0, 100))
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 100)


def test_status_says_which_collector_an_agent_delivers_to_and_since_when_none(cluster):
    c1 = cluster.managed("collector", "c1")
    cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster))

    def delivers_to():
        found = cluster.status().get(("a1", "web"), {}).get("delivers_to", [])
        return [(each["address"], each["collector"]) for each in found]

    cluster.wait_until(lambda: applied(cluster, "c1", "coll"), "c1 to be told what to run")
    address = cluster.status()[("c1", "coll")]["address"]
    cluster.wait_until(lambda: delivers_to() == [(address, "c1")], "the agent to deliver to c1")
    line = next(line for line in cluster.qanat("status", "-o", "text").splitlines() if "a1" in line)
    assert "\tc1\t" in line
    c1.kill()
    cluster.wait_until(lambda: delivers_to() == [("", "")], "no collector to take anything")
    c1.start()
    cluster.wait_until(lambda: delivers_to() == [(address, "c1")], "c1 to be back")
    written = append(cluster.directory / "in" / "a.log", numbered(0, 100))
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 100)


def test_node_that_is_removed_is_drained_and_gone(cluster):
    cluster.managed("collector", "c1")
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster, "roll=1h"))
    append(cluster.directory / "in" / "a.log", numbered(0, 100))
    cluster.wait_until(lambda: cluster.status()[("a1", "web")]["events"] == 100, "100 events")
    assert published(cluster.out) == []
    cluster.qanat("unconfig", "web", "coll", "--yes")
    cluster.wait_until(lambda: cluster.status() == {}, "both to be gone")
    assert_exactly_once(cluster.out, 100)
    assert "node_started" in a1.text()


def test_two_nodes_with_one_name_the_earlier_ends_and_says_why(cluster):
    a1 = cluster.managed("agent", "a1", role="web")
    cluster.start()
    a1.wait_for("master_attached")
    twin = cluster.daemon("twin", [*a1.arguments, "--state-dir", str(cluster.directory / "other")])
    twin.start()
    assert a1.wait() == 1
    assert "another process has registered as a1" in a1.text()
    assert "Traceback" not in a1.text()
    assert twin.is_running


def test_exactly_one_of_flow_file_and_masters_is_asked_for(cluster):
    flow = cluster.directory / "x.flow"
    flow.write_text('a : tail("/x") | agentSink("c") ;')
    for arguments, said in (
        (["agent"], "nothing says what to run"),
        (["agent", str(flow), "--master", "m1"], "leave the other out"),
        (["agent", "--master", "m1", "--only", "a"], "--only chooses from a FLOWFILE"),
        (["agent", "--master", "m1", "--label", "web"], "KEY=VALUE"),
        (["collector", "--master", "m1"], "--master without --store"),
    ):
        daemon = cluster.daemon("wrong", [*arguments, "--state-dir", str(cluster.directory / "s")])
        daemon.start()
        assert (daemon.wait(), said in daemon.text()) == (2, True), daemon.text()
        cluster.daemons.remove(daemon)


def test_collector_keeps_its_port_over_restarts(cluster):
    c1 = cluster.managed(
        "collector", "c1", "--advertise", "127.0.0.1", "--listen", f"127.0.0.1:{free_port()}"
    )
    cluster.start()
    cluster.apply(collect(cluster, name="one") + collect(cluster, name="two").replace('"web-"', '"two-"'))
    cluster.qanat("wait", "active", "one", "two")
    before = {name: each["address"] for name, each in cluster.status().items()}
    assert len(set(before.values())) == 2
    assert c1.stop() == 0
    c1.start()
    wait_until(
        lambda: {name: each["address"] for name, each in cluster.status().items()} == before, "the same ports"
    )


def test_admin_commands_show_plan_and_history_and_go_back(cluster):
    cluster.start()
    for number in (1, 2):
        cluster.qanat("apply", "-", "--yes", stdin=f'w @ role=web : tail("/l{number}") | autoE2EChain ;')
    plan = cluster.qanat("apply", "-", "--dry-run", stdin='w @ role=web : tail("/l3") | autoE2EChain ;')
    assert '-w @ role=web : tail("/l2")' in plan
    assert "1 to update" in plan
    cluster.qanat("diff", "-", stdin='w @ role=web : tail("/l3") | autoE2EChain ;', fails=True)
    cluster.qanat("diff", "-", stdin='w @ role=web : tail("/l2") | autoE2EChain ;')
    assert [row.split("\t")[0] for row in cluster.qanat("history", "w", "-o", "text").splitlines()] == [
        "2",
        "1",
    ]
    cluster.qanat("rollback", "w", "1", "--yes")
    (node,) = json.loads(cluster.qanat("get", "-o", "json"))["nodes"]
    assert (node["version"], '"/l1"' in node["text"]) == (3, True)
    said = cluster.qanat("apply", "-", "--yes", stdin="w : tial() | autoE2EChain ;", fails=True)
    assert "<stdin>:1:5" in said
    assert "tail" in said
    saved = cluster.directory / "saved.flow"
    cluster.qanat("map", "host-9", "w")
    cluster.qanat("save", str(saved))
    cluster.qanat("decommission", "w", "--yes")
    assert json.loads(cluster.qanat("get", "-o", "json"))["nodes"] == []
    cluster.qanat("load", str(saved), "--yes")
    assert json.loads(cluster.qanat("mappings", "-o", "json")) == {"mapping": {"host-9": ["w"]}}
    cluster.qanat(
        "multiconfig", 'x : tail("/x") | autoE2EChain ; y @ role=agent : tail("/y") | autoE2EChain ;'
    )
    cluster.qanat("spawn", "host-9", "x", "y")
    assert json.loads(cluster.qanat("mappings", "-o", "json")) == {"mapping": {"host-9": ["w", "x", "y"]}}
    assert "m0" in cluster.qanat("masters")
    assert stored_bytes(cluster.out) == 0


def test_agent_tries_again_at_once_when_a_master_says_that_a_collector_is_back(cluster):
    """Left to itself it would wait for a quarter of an hour."""
    c1 = cluster.managed("collector", "c1")
    patient = {"qanat.rpc.backoff.FIRST_S": 900.0, "agent.delivery.RETRY_S_MAX": 3600.0}
    a1 = cluster.managed("agent", "a1", tune=patient, role="web")
    cluster.start()
    cluster.apply(read(cluster) + collect(cluster))
    written = append(cluster.directory / "in" / "a.log", numbered(0, 1_000))
    cluster.wait_until_stored(written)
    c1.stop()
    a1.wait_for("collector_lost")
    cluster.wait_until(
        lambda: cluster.status()[("a1", "web")]["progress"] == "waiting", "masters to know that c1 is gone"
    )
    written += append(cluster.directory / "in" / "a.log", numbered(1_000, 2_000))
    c1.start()
    cluster.wait_until_stored(written)
    assert_drains_clean(cluster, 2_000)
