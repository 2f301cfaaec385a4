"""Operations on all of something, and on what is not there yet, as Flume OG had them."""

from __future__ import annotations

import pytest

from qanat.testing.control import AdminError
from tests.integration.masters import cluster, eventually

WEB = 'web : tail("/l") | agentE2ESink("c1", 35853) ;'


def test_logical_node_is_mapped_before_it_is_configured_when_that_is_meant(run):
    async def scenario():
        async with cluster() as c:
            node, admin = await c.node("host"), await c.admin()
            with pytest.raises(AdminError, match="there is no logical node web"):
                await admin("map", physical="host", logical=["web"])
            await admin("map", physical="host", logical=["web"], ahead=True)
            await admin("apply", text=WEB)
            await node.runs(WEB)

    run(scenario())


def test_unmap_all_takes_everything_back_in_one_step(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            await admin("spawn", physical="a", logical=["x", "y"], ahead=True)
            await admin("spawn", physical="b", logical=["x"], ahead=True)
            with pytest.raises(AdminError, match="not neither"):
                await admin("unmap")
            with pytest.raises(AdminError, match="not both"):
                await admin("unmap", physical="a", all=True)
            await admin("unmap", logical=["x"], all=True)
            assert (await admin("mappings"))["mapping"] == {"a": ["y"]}
            await admin("unmap", all=True)
            assert (await admin("mappings"))["mapping"] == {}
            await admin("unmap", all=True)  # and again: nothing is to be done

    run(scenario())


def test_purge_all_forgets_who_is_gone_and_nobody_else(run):
    async def scenario():
        async with cluster(2) as c:
            gone, stays = await c.node("gone", 0), await c.node("stays", 1)
            admin = await c.admin()
            assert (await admin("purge", all=True))["nodes"] == []
            with pytest.raises(AdminError, match="not both"):
                await admin("purge", all=True, names=["gone"])
            await gone.stop()
            await eventually(lambda: _lost(admin), "one is lost")
            forgotten = []
            await eventually(lambda: _forget(admin, forgotten), "it is forgotten")
            assert forgotten == ["gone"]
            assert [row["name"] for row in (await admin("nodes"))["nodes"]] == ["stays"]
            assert stays.attachments == 1

    async def _forget(admin, forgotten):
        forgotten += (await admin("purge", all=True))["nodes"]
        return bool(forgotten)

    async def _lost(admin):
        return [row["name"] for row in (await admin("nodes"))["nodes"] if row["state"] == "lost"] == ["gone"]

    run(scenario())


def test_mapping_to_a_physical_node_that_never_registered_is_done_and_noted(run):
    async def scenario():
        async with cluster() as c:
            node = await c.node("host-17")
            await node.until(lambda: node.attachments == 1)
            admin = await c.admin()
            await admin("apply", text='w : tail("/l") | agentE2ESink("c1") ;')
            assert await admin("map", physical="host-17", logical=["w"]) == {"mapping": {"host-17": ["w"]}}
            reply = await admin("map", physical="host-71", logical=["w"])
            assert reply["mapping"] == {"host-17": ["w"], "host-71": ["w"]}
            [note] = reply["notes"]
            assert note.startswith("host-71 never registered")
            assert 'did you mean "host-17"' in note

    run(scenario())
