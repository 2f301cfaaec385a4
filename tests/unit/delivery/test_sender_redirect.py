"""A sender that gets another chain while it is sending."""

from __future__ import annotations

from qanat.delivery import sender_messages as m
from qanat.delivery.sender import Phase, SenderCore


def streaming(*destinations):
    core = SenderCore("a1/web", "i", destinations)
    core.handle(m.Started())
    core.handle(m.WaitOver(0))
    core.handle(m.Connected(1))
    core.handle(m.Welcomed(1, 1, {}, 1000))
    assert core.phase is Phase.STREAMING
    return core


def test_sender_goes_on_with_its_collector_in_another_chain():
    core = streaming("c1", "c2")
    assert core.redirect(("c3", "c1"))
    assert (core.phase, core.destinations, core.destination) == (Phase.STREAMING, ("c3", "c1"), 1)


def test_sender_goes_to_the_first_of_its_new_chain_when_that_is_healthy():
    core = streaming("c1")
    core.redirect(("c3", "c1"))
    assert core.handle(m.FirstIsHealthy()) == [m.SendRelease(1)]
    core.handle(m.ReleaseDone(1))
    assert m.Connect(3, "c3") in core.handle(m.WaitOver(0))


def test_sender_follows_its_new_chain_after_a_failure():
    core = streaming("c1", "c2")
    core.redirect(("c1", "c9"))
    core.handle(m.Disconnected(1, "gone"))
    assert m.Connect(3, "c9") in core.handle(m.WaitOver(1))


def test_chain_without_the_present_collector_is_refused():
    core = streaming("c1", "c2")
    assert not core.redirect(("c2", "c3"))
    assert core.destinations == ("c1", "c2")
