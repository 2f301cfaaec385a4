"""The account of a stream against a plain count, number by number."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.ledger import ranges
from qanat.ledger.account import Accounts, Expectation, Verdict
from qanat.ledger.ranges import RangeSet

numbers = st.integers(0, 30) | st.integers(10**15, 10**15 + 30)
# Sequences of blocks of (stream, number).
stored = st.lists(
    st.lists(st.lists(st.tuples(st.sampled_from("ab"), numbers), max_size=12), max_size=4), max_size=3
)
bounds = st.none() | st.integers(0, 40)


def account(sequences: list[list[list[tuple[str, int]]]], expected: Expectation) -> dict[str, Verdict]:
    accounts = Accounts()
    for sequence in sequences:
        accounts.begin_sequence()
        for block in sequence:
            streams = pa.array([stream for stream, _ in block], pa.string())
            accounts.add(pa.array([number for _, number in block], pa.int64()), streams)
    return {verdict.stream: verdict for verdict in accounts.verdicts(expected)}


def naive(sequences: list[list[list[tuple[str, int]]]], stream: str, expected: Expectation) -> Verdict:
    orders = [[n for block in sequence for s, n in block if s == stream] for sequence in sequences]
    counts = Counter(n for order in orders for n in order)
    first = min(counts) if expected.first is None else expected.first
    last = max(counts) if expected.last is None else expected.last
    within = sum(first <= n <= last for n in counts)
    lost = max(0, last - first + 1 - within)
    unexpected = len(counts) - within
    if expected.events is not None:
        lost = max(lost, expected.events - within)
        unexpected = max(unexpected, len(counts) - expected.events)
    return Verdict(
        stream=stream,
        events=counts.total(),
        first=min(counts),
        last=max(counts),
        lost=lost,
        doubled=counts.total() - len(counts),
        reordered=sum(n < max(order[:i], default=n) for order in orders for i, n in enumerate(order)),
        unexpected=unexpected,
    )


@given(stored, bounds, bounds, bounds)
def test_account_agrees_with_a_plain_count(
    sequences: list[list[list[tuple[str, int]]]], first: int | None, last: int | None, events: int | None
) -> None:
    expected = Expectation(first, last, events)
    verdicts = account(sequences, expected)
    seen = {stream for sequence in sequences for block in sequence for stream, _ in block}
    assert set(verdicts) == (seen or {""})
    for stream in seen:
        found = verdicts[stream]
        wanted = naive(sequences, stream, expected)
        for name in ("events", "first", "last", "lost", "doubled", "reordered", "unexpected"):
            assert getattr(found, name) == getattr(wanted, name), name


@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=10).map(sorted), max_size=10))
def test_ranges_hold_what_was_added(blocks: list[list[int]]) -> None:
    ranges_set = RangeSet()
    ranges_set._merge_at = 4
    for block in blocks:
        ranges_set.add(pa.array(block, pa.int64()))
    starts, ends = ranges_set.ranges()
    held = [
        n
        for low, high in zip(starts.to_pylist(), ends.to_pylist(), strict=True)
        for n in range(low, high + 1)
    ]
    assert held == sorted({n for block in blocks for n in block})
    assert ranges.size(starts, ends) == len(held)
    missing = [
        n
        for low, high in ranges.gaps(*ranges.clip(starts, ends, 10, 50), 10, 50, 99)
        for n in range(low, high + 1)
    ]
    assert missing == [n for n in range(10, 51) if n not in held]


@pytest.mark.parametrize("expected", [Expectation(first=1, last=5), Expectation(events=5)])
def test_nothing_seen_is_all_lost(expected: Expectation) -> None:
    (verdict,) = Accounts().verdicts(expected)
    assert (verdict.events, verdict.lost) == (0, 5)


def test_account_shows_where_numbers_are_lost() -> None:
    verdict = account([[[("a", 1), ("a", 4), ("a", 9)]]], Expectation(first=0, last=12))["a"]
    assert verdict.lost_ranges == [(0, 0), (2, 3), (5, 8), (10, 12)]
