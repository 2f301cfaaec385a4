"""Collectors that automatic chains may name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qanat.control.documents import CollectorNode, Live
from qanat.control.liveness import Liveness

GRACE_S = 10.0
ONE = CollectorNode(listening={"coll": "c1:1"})


def test_new_collector_is_live_at_once():
    assert Liveness(Live(), GRACE_S).observe({"c1": ONE}, 0.0) == Live({"c1": {"coll": "c1:1"}})


def test_collector_that_is_back_within_the_grace_period_was_never_gone():
    liveness = Liveness(Live(), GRACE_S)
    before = liveness.observe({"c1": ONE}, 0.0)
    assert liveness.observe({}, 1.0) == before
    assert liveness.next_s() == 11.0
    assert liveness.observe({}, 10.9) == before
    assert liveness.observe({"c1": ONE}, 10.95) == before
    assert liveness.next_s() is None


def test_collector_that_stays_away_is_taken_out_after_the_grace_period():
    liveness = Liveness(Live(), GRACE_S)
    liveness.observe({"c1": ONE}, 0.0)
    liveness.observe({}, 1.0)
    assert liveness.observe({}, 11.0) == Live()
    assert liveness.next_s() is None


def test_collector_that_restarts_and_listens_later_keeps_its_place():
    liveness = Liveness(Live(), GRACE_S)
    before = liveness.observe({"c1": ONE}, 0.0)
    assert liveness.observe({"c1": CollectorNode()}, 1.0) == before
    moved = CollectorNode(listening={"coll": "c1:2"})
    assert liveness.observe({"c1": moved}, 2.0) == Live({"c1": {"coll": "c1:2"}})


def test_collector_that_leaves_by_plan_is_taken_out_at_once():
    liveness = Liveness(Live(), GRACE_S)
    liveness.observe({"c1": ONE}, 0.0)
    assert liveness.observe({"c1": CollectorNode(listening=ONE.listening, leaving=True)}, 1.0) == Live()


def test_new_leader_gives_a_new_grace_period():
    liveness = Liveness(Live({"c1": {"coll": "c1:1"}}), GRACE_S)
    assert liveness.observe({}, 100.0) == Live({"c1": {"coll": "c1:1"}})
    assert liveness.observe({}, 110.0) == Live()


@given(st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.floats(0, 3)), max_size=30))
def test_a_blip_shorter_than_the_grace_period_moves_none(steps):
    liveness = Liveness(Live(), GRACE_S)
    now_s, seen_s = 0.0, {}
    for names, passed_s in steps:
        now_s += passed_s
        for name in names:
            seen_s[name] = now_s
        registered = {name: CollectorNode(listening={"coll": name}) for name in names}
        living = liveness.observe(registered, now_s).collectors
        assert names <= living.keys()
        assert {name for name, last_s in seen_s.items() if now_s - last_s < GRACE_S} <= living.keys()
