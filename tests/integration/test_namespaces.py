"""A cluster over hosts, each with an address and a disk of its own: configured, scaled out and in, and cut in two."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from qanat.control.rendezvous import Candidates
from qanat.testing import hosts, namespaces
from qanat.testing.daemon import wait_until
from qanat.testing.hosts import HostsCluster
from tests.conftest import servers_missing
from tests.integration.lines import append, assert_exactly_once, numbered

AGENTS = tuple(f"a{number}" for number in range(1, 7))

# What takes half a minute otherwise: the way back to a preferred collector that was away.
TUNE = {"agent.delivery.PROBE_S": 0.5}

# A host that is cut off is noticed by silence: ten seconds, and a session's end.
PARTED_S_MAX = 120.0


@pytest.fixture
def cluster(tmp_path: Path, zookeeper_installed: None) -> Iterator[HostsCluster]:
    """Three hosts with ZooKeeper and a master each, and one where commands are typed."""
    try:
        namespaces.check()
    except namespaces.NoNamespacesError as why:
        if why.is_installable:
            servers_missing(str(why))
        pytest.skip(f"no hosts here: {why}")
    with (
        namespaces.Network(tmp_path, hosts.shared(tmp_path)) as network,
        HostsCluster(tmp_path, network) as made,
    ):
        made.start_masters()
        yield made


def flow(cluster, roll="300ms"):
    return (
        f'web @ role=agent : tail("{cluster.disk}/in.log") | autoE2EChain ;\n'
        f'coll @ role=collector : autoCollectorSource | file("{cluster.data}", "web-", roll={roll}) ;\n'
    )


def test_cluster_over_hosts_grows_shrinks_and_is_cut_in_two_without_a_loss(cluster):
    for name in ("c1", "c2"):
        cluster.node("collector", name).start()
    agents = [cluster.node("agent", name, tune=TUNE) for name in AGENTS]
    cluster.start()
    cluster.apply(flow(cluster))
    with Writers(cluster) as writers:
        everybody_is_found_by_its_own_address(cluster)
        settled(cluster, agents, "c1", "c2")

        grow(cluster, agents)
        shrink(cluster, agents)
        cut_off_collector(cluster, agents)
        cut_off_leader(cluster, agents)
    cluster.wait_until_stored(writers.bytes)
    cluster.stop()
    assert_exactly_once(cluster.out, writers.lines * len(AGENTS), len(AGENTS))


def everybody_is_found_by_its_own_address(cluster):
    status = cluster.status()
    for name in ("c1", "c2"):
        assert status[(name, "coll")]["address"] == f"{cluster.host(name).address}:35853"
    nodes = json.loads(cluster.qanat("nodes", "-o", "json"))["nodes"]
    assert {node["name"]: node["host"] for node in nodes} == {name: name for name in ("c1", "c2", *AGENTS)}
    wait_until(lambda: reachable(cluster) == set(hosts.MASTERS), "all masters to answer each other")
    masters = json.loads(cluster.qanat("masters", "-o", "json"))["masters"]
    assert [each["rpc"] for each in masters] == [f"{name}:35872" for name in hosts.MASTERS]
    assert "127.0.0.1" not in json.dumps([masters, nodes, [one["address"] for one in status.values()]])
    assert cluster.host(hosts.ADMIN).run("curl", "-sf", "http://m2:35871/readyz") == "ok\n"


def grow(cluster, agents):
    """A third collector takes the agents that prefer it, about a third, and moves no other."""
    before = {agent.name: len(welcomes(agent)) for agent in agents}
    cluster.node("collector", "c3").start()
    expected = settled(cluster, agents, "c1", "c2", "c3")
    moved = {agent.name for agent in agents if len(welcomes(agent)) > before[agent.name]}
    assert moved == {name for name, collector in expected.items() if collector == "c3"}
    assert 1 <= len(moved) <= 3, moved


def shrink(cluster, agents):
    """SIGTERM drains: it leaves the chains, commits, finishes its files."""
    (c1,) = (each for each in cluster.daemons if each.name == "c1")
    assert c1.stop() == 0
    settled(cluster, agents, "c2", "c3")
    wait_until(lambda: "c1" not in attached(cluster), "the masters to notice")
    cluster.qanat("purge", "c1", "--yes")
    # Another master may be asked, which reads who is known again after two seconds.
    wait_until(lambda: ("c1", "coll") not in cluster.status(), "every master to have forgotten it")
    assert not list(cluster.data.parent.rglob("out/c1/**/*.tmp"))


def cut_off_collector(cluster, agents):
    """Its agents go elsewhere by themselves, and come back; what it had not committed when it was cut off is theirs to repeat."""
    cluster.host("c2").cut()
    settled(cluster, agents, "c3")
    cluster.apply(flow(cluster, "400ms"))  # the others are changed meanwhile
    cluster.host("c2").heal()
    settled(cluster, agents, "c2", "c3")
    cluster.qanat("wait", "applied", "--timeout", f"{PARTED_S_MAX:.0f}s")


def cut_off_leader(cluster, agents):
    """With the ZooKeeper server on its host: nodes attach to the other masters, and changes go on."""
    wait_until(lambda: leads(cluster) != "", "a master to lead")
    leader = leads(cluster)
    cluster.host(leader).cut()
    wait_until(lambda: leads(cluster) not in ("", leader), "another master to lead", PARTED_S_MAX)
    wait_until(lambda: leader not in attached(cluster).values(), "all to leave", PARTED_S_MAX)
    cluster.apply(flow(cluster, "500ms"))
    cluster.host(leader).heal()
    wait_until(lambda: reachable(cluster) == set(hosts.MASTERS), "all masters", PARTED_S_MAX)
    cluster.qanat("wait", "active")


def leads(cluster):
    masters = json.loads(cluster.qanat("masters", "-o", "json"))["masters"]
    return next((each["id"] for each in masters if each["leads"]), "")


def reachable(cluster):
    masters = json.loads(cluster.qanat("masters", "-o", "json"))["masters"]
    return {each["id"] for each in masters if each["reachable"]}


def attached(cluster):
    nodes = json.loads(cluster.qanat("nodes", "-o", "json"))["nodes"]
    return {each["name"]: each["master"] for each in nodes if each["state"] == "attached"}


def settled(cluster, agents, *collectors):
    """Wait until every agent delivers to the one of `collectors` that it prefers; gives those."""
    candidates = Candidates(f"{name}\0coll" for name in collectors)
    expected = {name: candidates.best(f"default-flow/{name}/web", 1)[0].partition("\0")[0] for name in AGENTS}

    def now():
        return {agent.name: delivers_to(cluster, agent) for agent in agents}

    wait_until(lambda: now() == expected, f"agents to settle: {expected}", PARTED_S_MAX)
    return expected


def welcomes(agent):
    return re.findall(r"collector_welcomes.*destination=(\S+):\d+", agent.text())


def delivers_to(cluster, agent):
    names = {host.address: host.name for host in cluster.network.hosts.values()}
    said = welcomes(agent)
    return names[said[-1]] if said else ""


class Writers:
    """A context manager: a line in every agent's file, again and again; `lines` each and `bytes` together in the end."""

    def __init__(self, cluster: HostsCluster) -> None:
        self.lines = 0
        self.bytes = 0
        self._paths = {name: cluster.on_disk(name, "in.log") for name in AGENTS}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writers:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._done.wait(0.05):
            for name, path in self._paths.items():
                self.bytes += append(path, numbered(self.lines, self.lines + 100, name))
            self.lines += 100
