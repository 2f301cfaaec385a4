"""Samples of events, through several masters, over sockets: everywhere begun, everywhere ended."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import pytest

from qanat.testing.control import AdminError
from tests.integration.masters import cluster, eventually

# Two masters and their nodes share one process, and machines that run tests are busy.
LONG_S = 60.0

FLOW = """
web @ kind=web : tail("/l") | agentE2ESink("c", 35853) ;
flow audit {
  sys  @ kind=web : tail("/s") | agentE2ESink("c", 35853) ;
  auth @ kind=auth : tail("/a") | agentE2ESink("c", 35853) ;
}
"""


@pytest.fixture
def run():
    def run(scenario):
        return asyncio.run(asyncio.wait_for(scenario(), 4 * LONG_S))

    return run


async def tapped_cluster(c, **nodes):
    """`nodes`: name -> (master, kind). The administrator asks master 0."""
    admin = await c.admin()
    await admin("apply", text=FLOW)
    made = {name: await c.node(name, master, kind=kind) for name, (master, kind) in nodes.items()}
    for node in made.values():
        await node.until(lambda node=node: bool(node.running))

    async def all_know_all():
        reply = await admin("status")
        masters = (await admin("masters"))["masters"]
        return reply["attached"] == len(made) and len(masters) == len(c.masters)

    await eventually(all_know_all, "all masters and nodes", LONG_S)
    return admin, made


def test_tap_of_a_logical_node_samples_it_on_all_masters_nodes(run):
    async def scenario():
        async with cluster(2) as c:
            admin, _ = await tapped_cluster(c, h0=(0, "web"), h1=(1, "web"), h2=(1, "auth"))
            first, *samples = await admin.stream("tap", logical="web", events_max=3, physical="h1")
            assert first["notes"] == ["sampling web on h1"]
            (sample,) = samples
            assert [each["body"] for each in sample["events"]] == ["event 0", "event 1", "event 2"]
            assert {(each["physical"], each["logical"]) for each in sample["events"]} == {("h1", "web")}
            assert sample["dropped"] == 5
            first, *samples = await admin.stream("tap", logical="web", events_max=5)
            assert first["notes"] == ["sampling web on h0, web on h1"]
            assert sum(len(each["events"]) for each in samples) == 5

    run(scenario)


def test_tap_of_a_flow_samples_all_its_logical_nodes(run):
    async def scenario():
        async with cluster(2) as c:
            admin, nodes = await tapped_cluster(c, h0=(0, "web"), h1=(1, "auth"))
            for node in nodes.values():
                node.samples_s = 0.01
            _, *samples = await admin.stream("tap", logical="audit", events_max=40)
            seen = {
                (each["physical"], each["logical"], each["body"]) for one in samples for each in one["events"]
            }
            assert seen == {("h0", "sys", "sys"), ("h1", "auth", "auth")}
            for node in nodes.values():
                await node.until(lambda node=node: not node.tapping)

    run(scenario)


def test_tap_ends_everywhere_when_whoever_asked_goes(run):
    async def scenario():
        async with cluster(2) as c:
            admin, nodes = await tapped_cluster(c, h0=(0, "web"), h1=(1, "web"))
            for node in nodes.values():
                node.samples_s = 0.05
            asking = asyncio.create_task(admin.stream("tap", logical="web", events_max=100_000, seconds=600))

            async def is_begun():
                return asking.done() or all(node.tapping == ["web"] for node in nodes.values())

            await eventually(is_begun, "both nodes to be tapped", LONG_S)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking  # a refusal would be here instead
            for node in nodes.values():
                await node.until(lambda node=node: not node.tapping, LONG_S)

    run(scenario)


def test_tap_over_http_ends_when_its_reader_goes_though_nothing_comes(run):
    async def scenario():
        async with cluster() as c:
            _, nodes = await tapped_cluster(c, h0=(0, "web"))
            nodes["h0"].samples_s = 3600.0
            port = c.masters[0].http_port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v1/tap?logical=web&seconds=600 HTTP/1.1\r\nHost: m\r\n\r\n")
            while b"sampling web on h0" not in await reader.readline():
                pass
            await nodes["h0"].until(lambda: nodes["h0"].tapping == ["web"])
            writer.close()
            await nodes["h0"].until(lambda: not nodes["h0"].tapping)

    run(scenario)


def test_tap_follows_a_node_to_another_master(run):
    async def scenario():
        async with cluster(3) as c:
            admin, nodes = await tapped_cluster(c, h0=(1, "web"))
            node = nodes["h0"]
            node.masters = c.addresses[1:]
            node.samples_s = 0.05
            asking = asyncio.create_task(admin.stream("tap", logical="web", events_max=200, seconds=40))
            await node.until(lambda: node.tapping == ["web"])
            await c.masters[1].stop()
            await node.until(lambda: node.master == "m2")
            samples = await asking
            assert sum(len(each["events"]) for each in samples) == 200
            assert any("h0" in note for each in samples[1:] for note in each["notes"])

    run(scenario)


def test_slow_reader_loses_samples_and_holds_nobody_up(run):
    async def scenario():
        async with cluster() as c:
            _, nodes = await tapped_cluster(c, h0=(0, "web"))
            nodes["h0"].samples_s = 0.001
            port = c.masters[0].http_port
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(b"GET /v1/tap?logical=web&seconds=600&events_max=100000 HTTP/1.1\r\nHost: m\r\n\r\n")
            await nodes["h0"].until(lambda: nodes["h0"].tapping == ["web"])
            other = await c.admin()
            for _ in range(20):
                assert (await other("status"))["attached"] == 1
                await asyncio.sleep(0.02)
            assert nodes["h0"].tapping == ["web"]
            writer.close()
            assert reader
            await nodes["h0"].until(lambda: not nodes["h0"].tapping)

    run(scenario)


def test_tap_of_what_is_not_there_says_what_is(run):
    async def scenario():
        async with cluster() as c:
            admin, _ = await tapped_cluster(c, h0=(0, "web"))
            with pytest.raises(AdminError, match='no flow or logical node "adit"; did you mean "audit"'):
                await admin.stream("tap", logical="adit")
            with pytest.raises(AdminError, match="no attached node runs auth; `qanat status auth`"):
                await admin.stream("tap", logical="auth")
            with pytest.raises(AdminError, match="no attached node runs web on h9"):
                await admin.stream("tap", logical="web", physical="h9")

    run(scenario)


def test_names_of_what_is_not_there_are_refused_with_what_was_meant(run):
    async def scenario():
        async with cluster() as c:
            admin, _ = await tapped_cluster(c, host0=(0, "web"))
            for method, arguments, said in (
                ("status", {"names": ["hots0"]}, 'logical node or flow "hots0"; did you mean "host0"'),
                ("nodes", {"names": ["x"]}, 'flow "x"; `qanat status` lists them'),
                ("get", {"names": ["wbe"]}, 'no logical node "wbe"; did you mean "web"'),
                ("get", {"flow": "adit"}, 'no flow "adit"; did you mean "audit"'),
                ("save", {"flow": "adit"}, 'no flow "adit"'),
                ("history", {"logical": "wbe"}, 'never was a logical node "wbe"; did you mean "web"'),
                ("rollback", {"logical": "wbe", "version": 1}, 'never was a logical node "wbe"'),
                ("rollback", {"logical": "web", "version": 9}, "no version 9; there are 1 to 1"),
                ("refresh", {"names": ["wbe"]}, 'did you mean "web"'),
                ("purge", {"names": ["hots0"]}, 'no physical node "hots0"; did you mean "host0"'),
                ("unmap", {"physical": "host0", "logical": ["web"]}, "web is not mapped to host0"),
                ("map", {"physical": "host0", "logical": ["wbe"]}, 'did you mean "web"'),
            ):
                with pytest.raises(AdminError) as caught:
                    await admin(method, **arguments)
                assert said in str(caught.value), method

    run(scenario)


def test_flows_name_their_logical_nodes_to_status_get_and_wait(run):
    async def scenario():
        async with cluster() as c:
            admin, _ = await tapped_cluster(c, h0=(0, "web"), h1=(0, "auth"))
            rows = (await admin("status", names=["audit"]))["nodes"]
            shown = {(row["name"], each["logical"]) for row in rows for each in row["logical"]}
            assert shown == {("h0", "sys"), ("h1", "auth")}
            assert [each["logical"] for each in (await admin("get", names=["audit"]))["nodes"]] == [
                "auth",
                "sys",
            ]
            *_, last = await admin.stream("wait", kind="applied", names=["audit"], timeout_s=20)
            assert last["done"]

    run(scenario)


def test_nodes_are_listed_with_the_states_of_what_they_run(run):
    async def scenario():
        async with cluster() as c:
            admin, _ = await tapped_cluster(c, h0=(0, "web"))

            async def both_active():
                (row,) = (await admin("nodes"))["nodes"]
                return row["states"] == {"ACTIVE": 2}

            await eventually(both_active, "two active logical nodes")

    run(scenario)


def test_master_exports_what_the_documentation_says(run):
    async def scenario():
        async with cluster() as c:
            admin, _ = await tapped_cluster(c, h0=(0, "web"))
            with pytest.raises(AdminError):
                await admin("get", names=["nothing"])
            url = f"http://127.0.0.1:{c.masters[0].http_port}"
            page = await asyncio.to_thread(_get, f"{url}/metrics")
            assert 'qanat_operations_total{operation="get",outcome="not_found"} 1.0' in page
            assert 'qanat_operations_total{operation="apply",outcome="ok"} 1.0' in page
            assert json.loads(await asyncio.to_thread(_get, f"{url}/v1/nodes"))["attached"] == 1

    run(scenario)


def _get(url):
    with urllib.request.urlopen(url, timeout=20) as reply:
        return reply.read().decode()
