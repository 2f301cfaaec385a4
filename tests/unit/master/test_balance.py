"""When masters send nodes to each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from master.balance import MOVES_MAX, shed


def test_master_with_many_more_nodes_than_the_average_sheds_some_to_the_emptiest():
    due = shed("a", {"a": 100, "b": 40, "c": 10})
    assert due is not None
    assert (due.nodes, due.masters) == (50, ("c", "b"))


def test_small_differences_are_left():
    assert shed("a", {"a": 56, "b": 50, "c": 49}) is None
    assert shed("a", {"a": 2, "b": 0}) is None
    assert shed("a", {"a": 1000}) is None


def test_nodes_of_a_small_cluster_spread_too():
    due = shed("k3", {"k1": 0, "k2": 0, "k3": 5})
    assert due is not None
    assert (due.nodes, due.masters) == (3, ("k1", "k2"))
    assert shed("k1", {"k1": 2, "k2": 1, "k3": 2}) is None


def test_only_so_many_go_at_a_time():
    due = shed("a", {"a": 10_000, "b": 0})
    assert due is not None
    assert due.nodes == MOVES_MAX


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 5000), min_size=1))
def test_loads_come_together_and_then_nobody_moves(attached):
    for _ in range(200):
        moved = False
        for name in sorted(attached):
            due = shed(name, attached)
            if due is not None:
                moved = True
                attached[name] -= due.nodes
                attached[due.masters[0]] += due.nodes
        if not moved:
            break
    assert not moved
