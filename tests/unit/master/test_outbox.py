"""What waits for a node that is slow to listen."""

from __future__ import annotations

from master.outbox import WAITING_MAX, Outbox
from qanat.wire.v1 import control_pb2 as wire


def assign(revision):
    return wire.ToNode(assign=wire.Assign(revision=revision))


def test_newer_assignment_replaces_one_that_was_not_sent(run):
    outbox = Outbox()
    for number in range(1000):
        outbox.put(assign(str(number)))
        outbox.put(wire.ToNode(heard=wire.Heard()))
    assert [message.WhichOneof("message") for message in run(outbox.take())] == ["assign", "heard"]


def test_what_does_not_replace_each_other_is_bounded_and_refused():
    outbox = Outbox()
    refresh = wire.ToNode(refresh=wire.Refresh())
    assert [outbox.put(refresh) for _ in range(WAITING_MAX + 1)].count(False) == 1
    assert outbox.put(assign("1"))


def test_closed_outbox_still_gives_what_is_in_it_and_then_nothing(run):
    async def scenario():
        outbox = Outbox()
        outbox.put(assign("1"))
        outbox.close()
        return [await outbox.take(), await outbox.take()]

    first, second = run(scenario())
    assert len(first) == 1
    assert second == []
