"""What a master tells attached nodes, and when."""

from __future__ import annotations

import pytest

from master import nodes
from master.nodes import AttachedNode
from qanat.control.assignment import Assigned, assign
from qanat.wire.v1 import control_pb2 as wire


class Fixed:
    """A cluster that wants the same of everybody."""

    def __init__(self, text):
        self._assignment = assign([Assigned("web", "f", text, text)])

    def assignment(self, physical):
        return self._assignment


@pytest.mark.parametrize(("again_s", "told"), [(0.0, ["assign", "assign"]), (60.0, ["assign"])])
def test_node_that_does_not_say_what_it_was_told_is_told_again_after_a_while(run, monkeypatch, again_s, told):
    monkeypatch.setattr(nodes, "AGAIN_S", again_s)

    async def scenario():
        node = AttachedNode(wire.Register(name="n", role="agent"))
        cluster = Fixed("one")
        assert node.assign(cluster)
        said = await node.outbox.take()
        node.heard(wire.Report(wanted_revision="another"))
        node.outbox.put(wire.ToNode(heard=wire.Heard()))
        said += await node.outbox.take()
        assert [each.WhichOneof("message") for each in said if not each.HasField("heard")] == told
        node.heard(wire.Report(wanted_revision=said[0].assign.revision))
        node.outbox.put(wire.ToNode(heard=wire.Heard()))
        assert [each.WhichOneof("message") for each in await node.outbox.take()] == ["heard"]
        assert not node.assign(cluster)

    run(scenario())


@pytest.mark.parametrize(
    ("start", "applied", "is_told"),
    [(7, "same", False), (0, "same", True), (7, "older", True)],
    ids=["comes from another master", "has just started", "is not done"],
)
def test_node_is_not_told_what_it_brings_along(start, applied, is_told):
    cluster = Fixed("one")
    revision = cluster.assignment(None).revision
    report = wire.Report(wanted_revision=revision, applied_revision=applied.replace("same", revision))
    node = AttachedNode(wire.Register(name="n", role="agent", start=start, report=report))
    assert node.assign(cluster) is is_told
    assert node.is_settled is (applied == "same")
    assert node.assign(Fixed("two"))
    assert not node.is_settled
