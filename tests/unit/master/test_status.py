"""What nodes report, as administrators see it."""

from __future__ import annotations

import pytest

from master.status import configured_nowhere, listening, lost_row, merged, physical_row
from qanat.control.documents import Config, KnownNode, Live
from qanat.control.language import installed_language
from qanat.control.translation import Cluster, Physical
from qanat.wire.v1 import control_pb2 as wire


def reply(name, attached_s):
    return wire.StatusReply(nodes=[wire.NodeStatus(name=name, attached_s=attached_s)])


def row(wanted, said, collectors=None):
    """The only logical node of a physical one."""
    report = wire.Report(logical=[said] if said is not None else [], at_ns=2_000_000_000)
    status = wire.NodeStatus(
        name="n", wanted=[wanted] if wanted is not None else [], report=report, heard_s=1.0
    )
    (logical,) = physical_row("m", status, collectors).logical
    return logical


WANTED = wire.Statement(logical="a", hash="new")


def said(**fields):
    return wire.LogicalState(logical="a", **fields)


def test_node_that_moved_is_shown_where_it_attached_last():
    found = merged({"old": reply("n", 100.0), "new": reply("n", 1.0)})
    assert {name: master for name, (master, _) in found.items()} == {"n": "new"}


@pytest.mark.parametrize(
    ("wanted", "reported", "progress"),
    [
        (WANTED, said(running_hash="new", state=wire.ACTIVE), "applied"),
        (WANTED, said(running_hash="new", state=wire.NO_PROGRESS), "applied"),
        (WANTED, said(running_hash="old", state=wire.CLOSING), "applying"),
        (WANTED, said(running_hash="old", state=wire.ACTIVE, attempts=2), "failed"),
        (WANTED, said(running_hash="new", state=wire.ERROR), "failed"),
        (WANTED, None, "applying"),
        (wire.Statement(logical="a", waiting="no collector"), None, "waiting"),
        (None, said(running_hash="old", state=wire.CLOSING), "applying"),
        (None, said(state=wire.DECOMMISSIONED), "applied"),
    ],
)
def test_progress_compares_what_runs_with_what_should(wanted, reported, progress):
    assert row(wanted, reported).progress == progress


def test_collectors_that_are_delivered_to_have_names_where_those_are_known():
    live = Live(collectors={"host-collector": {"coll": "h:1", "other": "h:2"}})
    to = [wire.Destination(address=address, since_ns=1_000_000_000) for address in ("h:2", "elsewhere:1", "")]
    found = row(WANTED, said(delivers_to=to), listening(live)).delivers_to
    assert [(each.address, each.collector, each.for_s) for each in found] == [
        ("h:2", "host-collector", 2.0),
        ("elsewhere:1", "", 2.0),
        ("", "", 2.0),
    ]


def test_age_of_a_state_needs_no_clock_but_the_nodes_own():
    assert row(WANTED, said(since_ns=500_000_000)).since_s == 2.5  # 1.5 by its clock when it said so, 1 s ago


def cluster(text, mapping=None):
    config = Config(text=text, version=1, author="a", time_ns=0)
    return Cluster(installed_language(), {"web": config}, mapping or {})


@pytest.mark.parametrize(
    ("selector", "mapping", "why"),
    [
        (
            "",
            {},
            "it has no selector, no mapping, and no agent has its name; place it with `qanat map NODE web`",
        ),
        (" @ dc=x", {}, "no agent matches @ dc=x"),
        ("", {"gone": ("web",)}, "it is mapped to gone, which never registered as agent"),
    ],
)
def test_what_runs_nowhere_says_why(selector, mapping, why):
    made = cluster(f'web{selector} : tail("/l") | agentBESink("c") ;', mapping)
    assert configured_nowhere(made, [Physical("other", "agent")]) == [f"web runs nowhere: {why}"]
    assert (
        configured_nowhere(made, [Physical("gone", "agent", labels={"dc": "x"}), Physical("web", "agent")])
        == []
    )


def test_lost_node_shows_what_it_should_run():
    made = cluster('web @ dc=x : tail("/l") | agentBESink("c") ;')
    found = lost_row("n", KnownNode("agent", labels={"dc": "x"}), made)
    assert (found.state, [(each.logical, each.state) for each in found.logical]) == (
        "lost",
        [("web", "LOST")],
    )
