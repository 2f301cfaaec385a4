"""What each destination was given and has not stored, and who is given the next."""

from __future__ import annotations

from collections import Counter

from qanat.delivery.sender import Trouble
from qanat.loads import HOLD_OFF_S, NOTES_MAX, Loads


def test_least_is_who_has_the_fewest_bytes_that_are_not_stored() -> None:
    loads = Loads(3)
    members = [loads.join(share) for share in range(3)]
    for end, (share, size_bytes) in enumerate([(0, 30), (1, 20), (2, 10), (2, 15)], 1):
        loads.given(share, end, size_bytes)
    assert loads.least(0.0) == 1
    members[2].stored(3)
    assert (loads.bytes_of(2), loads.least(0.0)) == (15, 2)
    members[0].stored(2)
    assert (loads.bytes_of(0), loads.least(0.0)) == (0, 0)


def test_equals_take_turns() -> None:
    loads = Loads(3)
    assert Counter(loads.least(0.0) for _ in range(30)) == {0: 10, 1: 10, 2: 10}


def test_share_of_several_destinations_is_as_loaded_as_the_slowest() -> None:
    loads = Loads(2)
    fast, slow = loads.join(0), loads.join(0)
    loads.given(0, 5, 100)
    fast.stored(5)
    assert loads.bytes_of(0) == 100
    slow.stored(5)
    assert loads.bytes_of(0) == 0


def test_destination_in_trouble_gets_nothing_while_there_is_another_in_less() -> None:
    loads = Loads(3)
    members = [loads.join(share) for share in range(3)]
    loads.given(2, 1, 1_000_000)
    members[0].state = lambda: Trouble.AWAY
    members[1].state = lambda: Trouble.DETOUR
    assert {loads.least(0.0) for _ in range(5)} == {2}
    members[2].state = lambda: Trouble.AWAY
    assert {loads.least(0.0) for _ in range(5)} == {1}
    members[1].state = lambda: Trouble.AWAY
    assert {loads.least(0.0) for _ in range(6)} == {0, 1}


def test_destination_that_comes_and_goes_is_left_alone_longer_each_time_until_it_stores_something() -> None:
    loads = Loads(2)
    here, flaps = loads.join(0), loads.join(1)
    here.state = lambda: Trouble.NONE
    now_s = 0.0

    def fails(pause_s: float) -> None:
        nonlocal now_s
        flaps.state = lambda: Trouble.AWAY
        assert loads.least(now_s) == 0
        flaps.state = lambda: Trouble.NONE
        now_s += pause_s * 0.9
        assert {loads.least(now_s) for _ in range(3)} == {0}
        now_s += pause_s * 0.2
        assert 1 in {loads.least(now_s) for _ in range(3)}

    fails(HOLD_OFF_S)
    fails(2 * HOLD_OFF_S)
    fails(4 * HOLD_OFF_S)
    loads.given(1, 1, 1)
    flaps.stored(1)
    fails(HOLD_OFF_S)


def test_what_is_taken_back_is_not_waited_for() -> None:
    loads = Loads(1)
    for end in (1, 2, 3):
        loads.given(0, end, 10)
    loads.taken_back(1)
    assert loads.bytes_of(0) == 10


def test_notes_are_bounded_and_their_sum_stays() -> None:
    loads = Loads(1)
    member = loads.join(0)
    total = 5 * NOTES_MAX
    for end in range(1, total + 1):
        loads.given(0, end, 1)
    assert loads.bytes_of(0) == total
    assert len(loads._shares[0].waiting) <= NOTES_MAX
    member.stored(total)
    assert loads.bytes_of(0) == 0
