"""An agent and a collector on one host, neither of which was given a name."""

from __future__ import annotations

import json
import socket

from collector.command import default_name
from qanat.testing.cluster import LOOPBACK, free_port
from qanat.testing.managed import ManagedCluster
from tests.integration.lines import append, numbered

HOST = socket.gethostname()
FLOW = """
web  @ role=agent     : tail("{0}/in/*.log") | autoE2EChain ;
coll @ role=collector : autoCollectorSource | file("{0}/out", "web-", roll=300ms) ;
"""


def test_agent_and_collector_with_default_names_run_side_by_side_under_one_master(tmp_path):
    (tmp_path / "in").mkdir()
    with ManagedCluster(tmp_path) as cluster:
        common = ["--master", cluster.addresses[0], "--state-dir", str(cluster.state)]
        listen = ["--listen", f"{LOOPBACK}:{free_port()}", "--store", cluster.store]
        collector = cluster.daemon("collector", ["collector", *common, *listen])
        agent = cluster.daemon("agent", ["agent", *common])
        cluster.start()
        written = append(tmp_path / "in" / "a.log", numbered(0, 1_000))
        cluster.apply(FLOW.format(tmp_path))
        cluster.wait_until_stored(written)
        shown = json.loads(cluster.qanat("nodes", "-o", "json"))["nodes"]
        assert {each["name"]: each["role"] for each in shown} == {
            HOST: "agent",
            f"{HOST}-collector": "collector",
        }
        assert agent.is_running
        assert collector.is_running


def test_collector_keeps_the_name_of_its_host_when_its_state_has_it_from_before(tmp_path):
    assert default_name(tmp_path) == f"{HOST}-collector"
    (tmp_path / f"collector-{HOST}").mkdir()
    assert default_name(tmp_path) == HOST
