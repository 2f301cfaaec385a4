"""Masters, with real connections and simulated nodes: what nodes are told, and what administrators are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from master.leader import HISTORY_MAX
from master.operations.cluster import MOVES_S
from master.operations.streams import UNCONFIGURED
from qanat.control import paths
from qanat.control.documents import RECENT_MAX
from qanat.control.translation import Physical
from qanat.testing.control import AdminError
from qanat.wire.v1 import control_pb2 as wire
from tests.integration.masters import cluster, eventually

AGENTS = 'web @ kind=web : tail("/l") | agentE2ESink("c1") ;'
WEB = 'web : tail("/l") | agentE2ESink("c1") ;'
AUTO = (
    'web @ kind=web : tail("/l") | autoE2EChain ;'
    ' coll @ role=collector : autoCollectorSource | file("/d/", "x-") ;'
)


def web(*ports):
    """The statement of `web` in general form."""
    sinks = " ? ".join(f'agentE2ESink("c", {port})' for port in ports)
    return f'web : tail("/l") | {sinks if len(ports) == 1 else f"< {sinks} >"} ;'


def test_apply_reaches_nodes_at_every_master(run):
    async def scenario():
        async with cluster(3) as c:
            nodes = [await c.node(f"web-{number}", number, kind="web") for number in range(3)]
            admin = await c.admin()
            plan = await admin("apply", text=AGENTS, author="ada")
            assert [(each["logical"], each["change"]) for each in plan["changes"]] == [("web", "create")]
            for node in nodes:
                await node.runs(WEB)
            waited = await (await c.admin(2)).stream("wait", revision=plan["revision"])
            assert waited[-1]["done"]
            found = await (await c.admin(1))("status")
            assert [(row["name"], row["master"], row["applied"]) for row in found["nodes"]] == [
                ("web-0", "m0", True),
                ("web-1", "m1", True),
                ("web-2", "m2", True),
            ]
            assert [each["progress"] for row in found["nodes"] for each in row["logical"]] == ["applied"] * 3

    run(scenario())


def test_only_what_changed_is_told(run):
    async def scenario():
        async with cluster() as c:
            one, two = await c.node("a", kind="a"), await c.node("b", kind="b")
            admin = await c.admin()
            await admin(
                "apply",
                text='a @ kind=a : tail("/a") | agentBESink("c") ; b @ kind=b : tail("/b") | agentBESink("c") ;',
            )
            await one.runs('a : tail("/a") | agentBESink("c") ;')
            await two.runs('b : tail("/b") | agentBESink("c") ;')
            before = two.assigned
            await admin("apply", text='a @ kind=a : tail("/a2") | agentBESink("c") ;')
            await one.runs('a : tail("/a2") | agentBESink("c") ;')
            assert two.assigned == before

    run(scenario())


def test_bad_text_is_refused_with_every_fault_and_changes_nothing(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            with pytest.raises(AdminError) as caught:
                await admin(
                    "apply",
                    text='a : tial("/l") | agentSink("c") ;\nb : tail("/l") | nowhere ;',
                    path="x.flow",
                )
            assert caught.value.kind == "USAGE"
            assert len(caught.value.faults) == 2
            assert "x.flow:1:5" in caught.value.faults[0]
            with pytest.raises(AdminError, match="straight into storage"):
                await admin("apply", text='a : tail("/l") | file("/d/", "x-") ;')
            assert (await admin("get"))["nodes"] == []

    run(scenario())


def test_dry_run_and_diff_show_the_plan_and_do_nothing(run):
    async def scenario():
        async with cluster() as c:
            await c.node("web-1", group="g")
            admin = await c.admin()
            text = 'a @ group=g : tail("/l") | agentBESink("c") ; b : tail("/l") | agentBESink("c") ;'
            for plan in (await admin("apply", text=text, dry_run=True), await admin("diff", text=text)):
                assert not plan["applied"]
                assert [(each["change"], each["version"]) for each in plan["changes"]] == [("create", 0)] * 2
            assert (await admin("get"))["nodes"] == []
            await eventually(lambda: _runs_on(admin, text), "the plan names the node")
            assert any(note.startswith("b runs nowhere") for note in plan["notes"])

    async def _runs_on(admin, text):
        return (await admin("diff", text=text))["changes"][0].get("runs_on") == ["web-1"]

    run(scenario())


def test_plan_knows_a_node_that_came_a_moment_ago_to_another_master(run):
    async def scenario():
        async with cluster(masters=2) as c:
            admin = await c.admin(0)
            text = 'a @ group=g : tail("/l") | agentBESink("c") ;'
            await admin("diff", text=text)  # whoever is known was read just now
            node = await c.node("web-1", 1, group="g")
            await node.until(lambda: node.attachments == 1)
            plan = await admin("apply", text=text)
            assert (plan["changes"][0].get("runs_on"), plan["notes"]) == (["web-1"], [])
            assert (await admin("status"))["notes"] == []
            assert "notes" not in await admin("map", physical="web-1", logical=["a"])

    run(scenario())


def test_apply_with_prune_deletes_what_its_flows_have_besides(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            statement = 'tail("/l") | agentBESink("c")'
            await admin("apply", text=f"a : {statement} ; b : {statement} ; flow f {{ x : {statement} ; }}")
            plan = await admin("apply", text=f"a : {statement} ;", prune=True)
            assert {each["logical"]: each["change"] for each in plan["changes"]} == {
                "a": "unchanged",
                "b": "delete",
            }
            assert [each["logical"] for each in (await admin("get"))["nodes"]] == ["a", "x"]

    run(scenario())


def test_plan_that_is_out_of_date_is_a_conflict_that_names_who_and_what(run):
    async def scenario():
        async with cluster(2) as c:
            ada, ben = await c.admin(0), await c.admin(1)
            await ada("apply", text=AGENTS, author="ada")
            plan = await ben("diff", text=AGENTS.replace("/l", "/ben"))
            expected = {each["logical"]: each["version"] for each in plan["changes"]}
            await ada("apply", text=AGENTS.replace("/l", "/ada"), author="ada")
            with pytest.raises(
                AdminError, match=r"web was expected at version 1 and is at 2, by ada: .*/ada"
            ):
                await ben("apply", text=AGENTS.replace("/l", "/ben"), expected=expected)

    run(scenario())


def test_what_came_after_a_plan_is_not_pruned_by_it(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            changed = AGENTS.replace("/l", "/changed")
            await admin("apply", text=AGENTS)
            plan = await admin("diff", text=changed, prune=True)
            expected = {each["logical"]: each["version"] for each in plan["changes"]}
            await admin("apply", text=AGENTS.replace("web", "later"), author="ben")
            with pytest.raises(AdminError, match="later was expected at version 0 and is at 1, by ben"):
                await admin("apply", text=changed, prune=True, expected=expected)
            await admin("unconfig", names=["later"])
            await admin("apply", text=changed, prune=True, expected=expected)

    run(scenario())


def test_changes_through_different_masters_at_once_are_all_kept(run):
    async def scenario():
        async with cluster(3) as c:
            admins = [await c.admin(number) for number in range(3)]

            async def change(number, turn):
                text = f'n{number}-{turn} : tail("/{turn}") | agentBESink("c") ;'
                await admins[number]("apply", text=text)
                await admins[number]("map", physical="host", logical=[f"n{number}-{turn}"])

            async def keep_changing(number):
                for turn in range(8):
                    await change(number, turn)

            await asyncio.gather(*map(keep_changing, range(3)))
            names = sorted(f"n{number}-{turn}" for number in range(3) for turn in range(8))
            assert [each["logical"] for each in (await admins[0]("get"))["nodes"]] == names
            assert (await admins[1]("mappings"))["mapping"] == {"host": names}

    run(scenario())


def test_same_logical_node_changed_at_once_keeps_every_version(run):
    async def scenario():
        async with cluster(2) as c:
            admins = [await c.admin(number) for number in range(2)]

            async def keep_changing(number):
                done = 0
                for turn in range(10):
                    with contextlib.suppress(AdminError):  # the other one was faster: said, not swallowed
                        text = f'web : tail("/{number}-{turn}") | agentBESink("c") ;'
                        plan = await admins[number]("apply", text=text)
                        done += plan["changes"][0]["change"] != "unchanged"
                return done

            done = await asyncio.gather(*map(keep_changing, range(2)))
            history = (await admins[0]("history", logical="web"))["nodes"]
            assert [each["version"] for each in history] == list(range(sum(done), 0, -1))
            assert len({each["text"] for each in history}) == sum(done)

    run(scenario())


def test_rollback_is_a_new_version_with_the_old_text(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            await admin("apply", text=AGENTS.replace("/l", "/wrong"), author="ben")
            await admin("rollback", logical="web", version=1, author="ada")
            history = (await admin("history", logical="web"))["nodes"]
            assert [(each["version"], each["author"]) for each in history] == [
                (3, "ada"),
                (2, "ben"),
                (1, "test"),
            ]
            assert history[0]["text"] == history[2]["text"] == AGENTS
            with pytest.raises(AdminError, match="no version 9") as caught:
                await admin("rollback", logical="web", version=9)
            assert caught.value.kind == "NOT_FOUND"

    run(scenario())


def test_configuration_that_was_deleted_goes_on_with_its_versions(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            node = await c.node("host")
            await admin("apply", text=AGENTS)
            await admin("map", physical="host", logical=["web"])
            await node.runs(WEB)
            await admin("decommission", names=["web"])
            await node.runs()
            assert (await admin("mappings"))["mapping"] == {}
            with pytest.raises(AdminError, match='no logical node "web"'):
                await admin("unconfig", names=["web"])
            plan = await admin("apply", text=AGENTS)
            assert (plan["changes"][0]["change"], plan["changes"][0]["version"]) == ("create", 2)
            assert [each["text"] for each in (await admin("history", logical="web"))["nodes"]] == [
                AGENTS,
                "",
                AGENTS,
            ]

    run(scenario())


def test_saved_text_loads_into_an_empty_cluster(run):
    text = AUTO + ' flow audit { a @ dc in (x, y), !old : tail("/a") | autoDFOChain ; }'

    async def saved():
        async with cluster() as c:
            admin = await c.admin()
            await admin("apply", text=text)
            await admin("map", physical="host", logical=["web", "a"])
            await admin("limit", id="lan/a", bytes_s=1000)
            return await admin("save")

    async def load(document):
        async with cluster() as c:
            admin = await c.admin()
            plan = await admin("load", **document)
            assert plan["notes"][:2] == [
                "host is mapped to a, web",
                "the limit lan/a becomes 0 events/s, 1000 bytes/s (0: none)",
            ]
            again = await admin("load", **document)
            assert not set(plan["notes"][:2]) & set(again["notes"])
            return await admin("save")

    first = run(saved())
    assert first["mapping"] == {"host": ["a", "web"]}
    assert first["limits"] == [{"id": "lan/a", "events_s": 0.0, "bytes_s": 1000.0}]
    assert "flow audit {" in first["text"]
    assert run(load(first)) == first


def test_config_takes_parts_as_flume_og_did(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            await admin(
                "config",
                logical="web",
                source='tail("/l")',
                sink='agentE2ESink("c1")',
                flow="f",
                selector="kind=web",
            )
            await admin("config", logical="web", source='tail("/m")', sink='agentE2ESink("c1")')
            (found,) = (await admin("get"))["nodes"]
            assert (found["flow"], found["text"]) == ("f", 'web : tail("/m") | agentE2ESink("c1") ;')

    run(scenario())


def test_automatic_chains_follow_the_living_collectors(run):
    async def scenario():
        async with cluster(2) as c:
            node = await c.node("host", kind="web")
            admin = await c.admin(1)
            await admin("apply", text=AUTO)
            await eventually(
                lambda: _why(admin, "no live collector in flow default-flow"), "the node waits, and says why"
            )
            first = await c.collector("c1", {"coll": "c:1"})
            await node.runs(web(1))
            await first.close()  # a blip
            again = await c.collector("c1", {"coll": "c:1"})
            second = await c.collector("c2", {"coll": "c:2"})
            await node.until(lambda: len(node.running) == 1 and "?" in next(iter(node.running.values())))
            await c.leave(second, "c2", {"coll": "c:2"})
            await node.runs(web(1))
            told = node.assigned
            await again.close()
            await asyncio.sleep(1.0)  # twice the grace period: now it waits, and keeps what it runs
            await node.until(lambda: node.assigned == told + 1)
            await node.runs(web(1))

    async def _why(admin, why):
        rows = (await admin("status"))["nodes"]
        return [each["why"] for row in rows for each in row["logical"]] == [why]

    run(scenario())


def test_what_waits_is_not_applied_and_what_is_not_configured_is_not_waited_for(run):
    async def scenario():
        async with cluster(2) as c:
            node = await c.node("host", kind="web")
            await node.until(lambda: node.attachments == 1)
            admin = await c.admin(1)
            (*_, last) = await admin.stream("wait", timeout_s=30)
            assert (last["done"], last["stuck"], last["pending"]) == (False, True, [UNCONFIGURED])
            agents_only = AUTO.partition("coll ")[0]
            await admin("apply", text=agents_only)
            (*_, last) = await admin.stream("wait", names=["web"], timeout_s=30)
            assert (last["done"], last["stuck"]) == (False, True)
            assert last["pending"] == [f"host: web waiting: {NO_COLLECTOR}"]
            (*_, last) = await admin.stream("wait", timeout_s=30)
            assert (last["stuck"], last["settled"], last["total"]) == (True, 0, 1)
            (*_, last) = await admin.stream("wait", names=["web", "wbe"], timeout_s=0.5)
            assert (last["done"], last["unknown"]) == (False, ["wbe"])
            plan = await admin("apply", text=AUTO)
            for names in ([], ["web"]):
                (*_, last) = await admin.stream("wait", names=names, timeout_s=0.5, revision=plan["revision"])
                assert (last["done"], last["stuck"]) == (False, False)
                assert last["pending"] == ["host: web waiting: no live collector in flow default-flow"]
            await c.collector("c1", {"coll": "c:1"})
            (*_, last) = await admin.stream("wait", names=["web"], timeout_s=30)
            assert last["done"]

    run(scenario())


NO_COLLECTOR = "no collector is configured in flow default-flow: no logical node of it has autoCollectorSource as its source"


def test_logical_names_reach_the_collectors_that_run_them(run):
    async def scenario():
        async with cluster() as c:
            node = await c.node("host", kind="web")
            collector = await c.node("c1", role="collector")
            admin = await c.admin()
            text = (
                'web @ kind=web : tail("/l") | logicalSink("store") ;'
                ' store @ role=collector : logicalSource | file("/d/", "x-") ;'
            )
            await admin("apply", text=text)
            await collector.runs('store : autoCollectorSource | file("/d/", "x-") ;')
            await c.collector("c1", {"store": "c:1"})
            await node.runs(web(1))

    run(scenario())


def test_bad_configuration_on_one_of_ten_is_shown_and_the_others_go_on(run):
    async def scenario():
        async with cluster(2) as c:
            nodes = [await c.node(f"n{number}", kind="web") for number in range(10)]
            nodes[3].breaks = lambda statement: "no such file" if "/bad" in statement.text else ""
            admin = await c.admin()
            text = AGENTS
            await admin("apply", text=text)
            assert (await admin.stream("wait", kind="active"))[-1]["done"]
            plan = await admin("apply", text=text.replace("/l", "/bad"))
            waited = await admin.stream("wait", revision=plan["revision"], timeout_s=1.5)
            assert not waited[-1]["done"]
            assert waited[-1]["pending"] == ["n3: web ERROR no such file"]
            assert nodes[3].running == {"web": WEB}
            unsettled = (await admin("status", unsettled=True))["nodes"]
            assert [(row["name"], row["logical"][0]["progress"]) for row in unsettled] == [("n3", "failed")]
            await admin("rollback", logical="web", version=1)
            assert (await admin.stream("wait"))[-1]["done"]

    run(scenario())


def test_limits_and_refresh_reach_nodes(run):
    async def scenario():
        async with cluster(2) as c:
            node = await c.node("host", 1)
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            await admin("map", physical="host", logical=["web"])
            await node.runs(WEB)
            told = node.assigned
            await admin("limit", id="slow", events_s=100)
            await node.until(lambda: node.limits == {"slow": (100.0, 0.0)})
            assert (await admin("refresh", names=["web"]))["nodes"] == ["host"]
            await node.until(lambda: node.refreshed == [["web"]])
            await admin("limit", id="slow", delete=True)
            await node.until(lambda: node.limits == {})
            assert node.assigned == told
            with pytest.raises(AdminError, match="nobody is no attached"):
                await admin("refresh", names=["nobody"])

    run(scenario())


def test_node_moves_when_its_master_stops_or_dies_and_is_shown_once(run):
    async def scenario():
        async with cluster(3) as c:
            node = await c.node("host", 0)
            await node.until(lambda: node.master == "m0")
            admin = await c.admin(2)
            await eventually(lambda: _masters(admin, 3), "three masters")
            await c.masters[0].stop()
            await node.until(lambda: node.master in ("m1", "m2"))
            later = {"m1": 1, "m2": 2}[node.master]
            survivor = await c.admin(3 - later)
            await eventually(lambda: _masters(survivor, 2), "two masters")
            await c.masters[later].kill()
            await node.until(lambda: node.master == f"m{3 - later}")
            rows = (await survivor("status"))["nodes"]
            assert [(row["name"], row["master"]) for row in rows] == [("host", f"m{3 - later}")]

    run(scenario())


async def _masters(admin, count):
    return len((await admin("masters"))["masters"]) == count


def test_another_master_leads_once_the_leader_is_dead(run):
    async def scenario():
        async with cluster(2) as c:
            admins = [await c.admin(number) for number in range(2)]

            async def leader(admin):
                rows = await admin("masters")
                return [row["id"] for row in rows["masters"] if row["leads"]], rows["epoch"]

            await eventually(lambda: _is(leader, admins[0], 1), "a leader")
            (first,), epoch = await leader(admins[0])
            other = 1 - int(first[1])
            await c.masters[1 - other].kill()
            await eventually(lambda: _is(leader, admins[other], epoch + 1), "the next leader")
            await admins[other]("apply", text=AUTO)
            await c.collector("c1", {"coll": "c:1"})
            await eventually(lambda: _has_live(c, "c1"), "the new leader writes who lives")

    async def _is(leader, admin, epoch):
        found, now = await leader(admin)
        return len(found) == 1 and now >= epoch

    async def _has_live(c, name):
        return name in c.stored().get(paths.LIVE, {}).get("collectors", {})

    run(scenario())


def test_two_processes_of_one_name_end_with_the_later(run):
    async def scenario():
        async with cluster() as c:
            first = await c.node("host")
            await first.until(lambda: first.attachments == 1)
            second = await c.node("host", role="collector")
            await first.until(lambda: bool(first.refused))
            assert "another process has registered as host, as collector from" in first.refused
            await second.until(lambda: second.attachments == 1)

    run(scenario())


def test_two_processes_of_one_name_at_different_masters_end_with_the_later(run):
    async def scenario():
        async with cluster() as c:
            await c.add_master(clock_off_s=-3600)
            await eventually(lambda: _know_each_other(c), "two masters")
            first = await c.node("host", 0)
            await first.until(lambda: first.start_number == 1)
            second = await c.node("host", 1)
            await first.until(lambda: bool(first.refused))
            assert "another process has registered as host" in first.refused
            await second.until(lambda: second.start_number == 2)
            third = await c.node("host", 0)
            await second.until(lambda: bool(second.refused))
            assert not third.refused

    run(scenario())


def test_process_that_goes_from_master_to_master_is_never_taken_for_another(run):
    async def scenario():
        async with cluster(2) as c:
            await c.add_master(clock_off_s=3600)
            await eventually(lambda: _know_each_other(c), "three masters")
            node = await c.node("host", kind="web")
            await node.until(lambda: node.start_number == 1)
            for turn in range(12):
                attached = node.attachments
                number = int(node.master[1:])
                c.masters[number].master._nodes.get("host").outbox.put(
                    wire.ToNode(move=wire.Move(masters=[c.addresses[(number + 1 + turn % 2) % 3]]))
                )
                await node.until(lambda attached=attached: node.attachments > attached)
            for running in c.masters:
                await running.master._look_up_all()
            await asyncio.sleep(1.0)  # twice a batch
            assert (node.refused, node.start_number) == ("", 1)

    run(scenario())


async def _know_each_other(c):
    return all(len(each.master._desk.peers.masters) == len(c.masters) for each in c.masters)


def test_node_on_its_way_from_one_master_to_another_is_not_lost(run):
    async def scenario():
        async with cluster() as c:
            node = await c.node("host")
            admin = await c.admin()
            await eventually(lambda: _states(admin, "attached"), "the node is known")
            await node.stop()
            asked = asyncio.create_task(_states(admin, "attached"))
            await asyncio.sleep(MOVES_S / 5)
            await c.node("host")
            assert await asked

    run(scenario())


async def _states(admin, *states):
    return [row["state"] for row in (await admin("nodes"))["nodes"]] == [*states]


def test_lost_node_is_shown_until_it_is_purged(run):
    async def scenario():
        async with cluster() as c:
            node = await c.node("host", kind="web")
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            await node.runs(WEB)
            with pytest.raises(AdminError, match="host is attached"):
                await admin("purge", names=["host"])
            await node.stop()
            await eventually(lambda: _states(admin, "lost"), "the node is lost")
            (row,) = (await admin("status"))["nodes"]
            assert [(each["logical"], each["state"]) for each in row["logical"]] == [("web", "LOST")]
            await admin("purge", names=["host"])
            assert (await admin("nodes"))["nodes"] == []

    run(scenario())


def test_node_that_is_about_to_go_is_purged_once_it_has_gone(run, monkeypatch):
    monkeypatch.setattr("master.operations.placing.LEAVING_S_MAX", 30.0)

    async def scenario():
        async with cluster() as c:
            node = await c.node("host", kind="web")
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            await node.runs(WEB)
            purging = asyncio.create_task(admin("purge", names=["host"]))
            await node.stop()
            assert (await purging)["nodes"] == ["host"]
            assert (await admin("nodes"))["nodes"] == []

    run(scenario())


def test_failed_save_is_a_failed_command(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            c.masters[0].store.cut()
            with pytest.raises(AdminError) as caught:
                await admin("apply", text=AGENTS.replace("/l", "/m"))
            assert caught.value.kind == "UNAVAILABLE"
            reply = await admin.reply("get")
            assert reply.stale
            assert b"/l" in reply.result_json
            c.masters[0].store.restore()
            assert (await admin("get"))["nodes"][0]["version"] == 1

    run(scenario())


def test_status_says_nothing_of_what_it_can_not_know_while_the_store_is_away(run):
    async def scenario():
        async with cluster(2) as c:
            node = await c.node("web-1", 1, kind="web")
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            await node.runs(WEB)
            await eventually(lambda: _is_known(admin, "web-1"), "web-1 is written down")
            for each in c.masters:
                each.store.cut()
            found = await admin("status")
            assert [(row["name"], row["state"]) for row in found["nodes"]] == [("web-1", "attached")]
            assert found["notes"] == []

    run(scenario())


def test_plan_knows_who_is_attached_while_the_store_is_away(run, monkeypatch):
    monkeypatch.setattr("master.nodes.NEWCOMER_S", 0.0)

    async def scenario():
        async with cluster(2) as c:
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            node = await c.node("web-1", 1, kind="web")
            await node.runs(WEB)
            for each in c.masters:
                each.store.cut()
            plan = await admin("diff", text=AGENTS)
            assert plan["changes"][0]["runs_on"] == ["web-1"]
            assert not [note for note in plan["notes"] if "runs nowhere" in note]

    run(scenario())


async def _is_known(admin, name):
    return any(row["name"] == name for row in (await admin("nodes"))["nodes"])


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("map", {"physical": "../../leader", "logical": ["web"]}),
        ("map", {"physical": "", "logical": ["web"]}),
        ("map", {"physical": "a\x1b[31mb", "logical": ["web"]}),
        ("map", {"physical": "a" * 1000, "logical": ["web"]}),
        ("limit", {"id": "\x1b[31m", "bytes_s": 1}),
        ("map", {"physical": "a", "logical": ["\x1b[31m"], "ahead": True}),
        ("map", {"physical": "a", "logical": [""], "ahead": True}),
        ("load", {"text": AGENTS, "mapping": {"a\nb": ["web"]}}),
        ("load", {"text": AGENTS, "mapping": {"a": ["web", "\x1b[31m"]}}),
        ("load", {"text": "", "limits": [{"id": "x", "events_s": each, "bytes_s": 0} for each in (1, 2)]}),
        (
            "config",
            {
                "logical": "x",
                "source": 'tail("/") | agentBESink("c") ; y : tail("/")',
                "sink": 'agentBESink("c")',
            },
        ),
    ],
)
def test_names_that_nothing_can_have_are_refused(run, operation, arguments):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            before = c.stored()
            with pytest.raises(AdminError) as caught:
                await admin(operation, **arguments)
            assert caught.value.kind == "USAGE"
            assert c.stored() == before

    run(scenario())


@pytest.mark.parametrize("logical", ["", ".", "..", "../leader", "a\0b", "a" * 1000])
def test_history_of_what_is_no_name_is_not_found(run, logical):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            for operation, more in (("history", {}), ("rollback", {"version": 1})):
                with pytest.raises(AdminError) as caught:
                    await admin(operation, logical=logical, **more)
                assert caught.value.kind == "NOT_FOUND"

    run(scenario())


def test_logical_node_that_is_mapped_twice_to_a_physical_one_is_mapped_once(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            await admin("load", text=AGENTS, mapping={"host": ["web", "web"]})
            assert (await admin("mappings"))["mapping"] == {"host": ["web"]}

    run(scenario())


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("../x", {}),
        ("a\x1bb", {}),
        ("a" * 1000, {}),
        ("a", {"k": "v" * 1000}),
        ("a", {f"k{n}": "" for n in range(100)}),
    ],
)
def test_node_with_a_name_or_labels_that_nobody_should_have_is_refused(run, name, labels):
    async def scenario():
        async with cluster() as c:
            await c.node(name, **labels)
            good = await c.node("good")
            await good.until(lambda: good.attachments == 1)
            assert [row["name"] for row in (await (await c.admin())("status"))["nodes"]] == ["good"]

    run(scenario())


def test_change_whose_reply_was_lost_is_done_once(run):
    async def scenario():
        async with cluster() as c:
            admin = await c.admin()
            await admin("apply", text=AGENTS)
            c.masters[0].store.lose_replies(1)
            plan = await admin("apply", text=AGENTS.replace("/l", "/m"))
            assert plan["revision"] == 2
            assert [each["version"] for each in (await admin("history", logical="web"))["nodes"]] == [2, 1]

    run(scenario())


def test_nodes_keep_what_they_run_at_a_store_that_was_never_configured(run):
    async def scenario():
        async with cluster() as c:
            node = await c.node("host")
            await node.until(lambda: node.attachments == 1)
            admin = await c.admin()
            await admin("status")
            assert node.assigned == 0

    run(scenario())


def test_master_that_missed_more_changes_than_are_listed_reads_everything(run):
    async def scenario():
        async with cluster(2) as c:
            node = await c.node("web", 1)
            admin = await c.admin()
            await admin("apply", text=AGENTS + ' gone : tail("/g") | agentBESink("c") ;')
            await node.runs(WEB)
            c.masters[1].store.cut()
            await admin("unconfig", names=["gone"])
            for turn in range(RECENT_MAX + 3):
                await admin("apply", text=AGENTS.replace("/l", f"/{turn}"))
            c.masters[1].store.restore()
            await node.runs(WEB.replace("/l", f"/{RECENT_MAX + 2}"))
            assert [each["logical"] for each in (await (await c.admin(1))("get"))["nodes"]] == ["web"]
            await eventually(lambda: _is_pruned(admin), "the leader keeps the last versions only")

    async def _is_pruned(admin):
        versions = [each["version"] for each in (await admin("history", logical="web", limit=100))["nodes"]]
        return versions == list(range(RECENT_MAX + 4, RECENT_MAX + 4 - HISTORY_MAX, -1))

    run(scenario())


def test_node_that_was_away_for_a_week_runs_what_was_configured_meanwhile(run):
    async def scenario():
        async with cluster() as c:
            node = await c.node("host", kind="web")
            admin = await c.admin()
            await admin("apply", text=AGENTS + ' old @ kind=web : tail("/o") | agentBESink("c") ;')
            await node.until(lambda: len(node.running) == 2)
            await node.stop()
            await admin("apply", text=AGENTS.replace("/l", "/new"))
            await admin("unconfig", names=["old"])
            node.start()
            await node.runs(WEB.replace("/l", "/new"))

    run(scenario())


@pytest.mark.parametrize("seed", range(3))
def test_every_node_is_told_what_translation_says_though_all_come_and_go_while_much_is_changed(run, seed):
    chance = random.Random(seed)

    async def scenario():
        async with cluster(3) as c:
            kinds = ["web", "db", "log"]
            nodes = [await c.node(f"n{number}", kind=kinds[number % 3]) for number in range(9)]
            admins = [await c.admin(number) for number in range(3)]
            for turn in range(40):
                kind = chance.choice(kinds)
                text = f'{kind} @ kind={kind} : tail("/{turn}") | agentE2ESink("c1") ;'
                await chance.choice(admins)("apply", text=text)
                node = chance.choice(nodes)
                match chance.randrange(4):
                    case 0:
                        await node.stop()
                        node.start()
                    case 1:
                        move = wire.ToNode(move=wire.Move(masters=[chance.choice(c.addresses)]))
                        for running in c.masters:
                            if attached := running.master._nodes.get(node.name):
                                attached.outbox.put(move)
                    case 2:
                        await asyncio.sleep(chance.random() / 50)
            snapshot = await c.masters[0].master._desk.cache.fresh()
            wanted = c.masters[0].master._desk.cluster(snapshot)
            for node in nodes:
                revision = wanted.assignment(Physical(node.name, "agent", node.name, node.labels)).revision
                await node.until(lambda node=node, revision=revision: node._wanted.revision == revision)

    run(scenario())


def test_clocks_that_disagree_by_an_hour_change_nothing_but_times_in_the_history(run):
    async def scenario():
        async with cluster() as c:
            await c.add_master(clock_off_s=-3600.0)
            ada, ben = await c.admin(0), await c.admin(1)
            node = await c.node("web", 1)
            await ada("apply", text=AGENTS)
            await ben("apply", text=AGENTS.replace("/l", "/m"))
            await node.runs(WEB.replace("/l", "/m"))
            new, old = (await ada("history", logical="web"))["nodes"]
            assert (new["version"], old["version"]) == (2, 1)
            assert new["time_ns"] < old["time_ns"]
            for admin in (ada, ben):
                (row,) = (await admin("status"))["nodes"]
                assert 0 <= row["heard_s"] < 60

    run(scenario())


def get(port, path, **headers):
    """Status and body of a GET."""
    return _fetch(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers))


def post(port, path, body, content_type="application/json"):
    """Status and body of a POST."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), {"Content-Type": content_type}
    )
    return _fetch(request)


def _fetch(request):
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_http_serves_every_operation_health_and_metrics(run):
    async def scenario():
        async with cluster() as c:
            port = c.masters[0].http_port
            admin = await c.admin()
            await admin("version")

            async def ask(function, *arguments, **keywords):
                return await asyncio.to_thread(function, port, *arguments, **keywords)

            assert await ask(get, "/healthz") == (200, "ok\n")
            await eventually(lambda: _is_ready(ask), "readiness")
            status, body = await ask(post, "/v1/apply", {"text": AGENTS})
            assert (status, json.loads(body)["applied"]) == (200, True)
            status, body = await ask(get, "/v1/get?names=web&flow=" + quote("default-flow"))
            assert json.loads(body)["nodes"][0]["text"] == AGENTS
            status, body = await ask(post, "/v1/apply", {"text": "x"})
            assert (status, json.loads(body)["error"]["kind"]) == (400, "USAGE")
            assert (await ask(post, "/v1/apply", {"text": AGENTS}, "text/plain"))[0] == 415
            assert (await ask(get, "/v1/apply?text=x"))[0] == 405
            assert (await ask(get, "/v1/get?names=nothing"))[0] == 404
            assert (await ask(get, "/v1/nothing"))[0] == 404
            assert await ask(get, "/v1/limit") == (200, '{"limits":[]}')
            assert (await ask(get, "/v1/limit?id=slow"))[0] == 405
            for function, path, status in ((get, "/nothing", 404), (get, "/v1", 404), (post, "/readyz", 405)):
                found, body = await ask(function, path, *([{}] if function is post else []))
                assert (found, json.loads(body)["error"]["faults"]) == (status, [])
            assert (await ask(get, "/v1/history?logical=web&limit=x"))[0] == 400
            status, body = await ask(get, "/v1/wait?timeout_s=5")
            assert json.loads(body.splitlines()[-1])["done"]
            assert "qanat_attached_nodes 0.0" in (await ask(get, "/metrics"))[1]
            c.masters[0].store.cut()
            assert await ask(get, "/readyz") == (503, "the coordination store is suspended\n")

    async def _is_ready(ask):
        return (await ask(get, "/readyz"))[0] == 200

    run(scenario())
