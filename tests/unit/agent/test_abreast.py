"""Who of a fan-out's branches may read on."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from agent.abreast import FRESH_S, Pace, Progress, paces

WINDOW = 100


@dataclass
class Branch:
    """A branch over data that ends at `world.end`; begins at `begin`."""

    pace: Pace
    begin: int = 0
    sent: int = 0
    had: int = 0

    def __post_init__(self) -> None:
        self.pace.progress = lambda: Progress(self.sent - self.begin, self.had - self.begin)

    def start_at(self, position: int) -> None:
        self.begin = self.sent = self.had = position

    def measure(self, end: int, now_s: float) -> None:
        self.pace.measured(end - self.sent, now_s)


def pair() -> tuple[Branch, Branch]:
    """A required branch and another one."""
    first, second = paces([True, False], WINDOW)
    assert first
    assert second
    return Branch(first), Branch(second)


def test_nobody_waits_unless_somebody_is_required() -> None:
    assert paces([False, False], WINDOW) == [None, None]
    assert paces([True], WINDOW) == [None]


def test_required_branch_waits_for_nobody() -> None:
    required, _ = pair()
    required.sent = required.had = 10 * WINDOW
    assert required.pace.may_read()


def test_other_branch_waits_a_window_ahead_of_one_that_never_was_there() -> None:
    _, other = pair()
    other.sent = WINDOW - 1
    assert other.pace.may_read()
    other.sent = WINDOW
    assert not other.pace.may_read()


def test_other_branch_goes_on_with_what_the_required_one_has() -> None:
    required, other = pair()
    other.sent = WINDOW
    required.sent = WINDOW
    assert not other.pace.may_read(), "sent is not had"
    required.had = 1
    assert other.pace.may_read()


def test_branch_that_starts_far_behind_the_required_one_catches_up() -> None:
    required, other = pair()
    required.start_at(1000)
    other.start_at(0)
    required.measure(1000, 0.0)
    other.measure(1000, 0.0)
    other.sent = other.had = 1000 + WINDOW - 1
    assert other.pace.may_read()
    other.sent = 1000 + WINDOW
    assert not other.pace.may_read()


def test_branch_that_starts_a_window_ahead_waits() -> None:
    required, other = pair()
    other.start_at(WINDOW)
    required.measure(500, 0.0)
    other.measure(500, 1.0)
    assert not other.pace.may_read()


def test_stale_measurement_changes_nothing() -> None:
    required, other = pair()
    required.measure(0, 0.0)
    other.sent = WINDOW
    other.measure(1000, FRESH_S + 1)  # 1000 bytes were written since, of which the required one does not know
    assert other.pace.ahead_bytes() == WINDOW


@given(st.lists(st.tuples(st.sampled_from("wsah"), st.integers(0, 60)), max_size=60), st.integers(0, 300))
def test_distance_is_exact_when_both_are_measured_together_once(
    steps: list[tuple[str, int]], begin: int
) -> None:
    required, other = pair()
    required.start_at(begin)
    end = 300
    required.measure(end, 0.0)
    other.measure(end, 0.0)
    for kind, number in steps:
        if kind == "w":
            end += number
        elif kind == "s":
            required.sent = min(required.sent + number, end)
        elif kind == "h":
            required.had = min(required.had + number, required.sent)
        elif other.pace.may_read():
            other.sent = min(other.sent + number, end)
        assert other.pace.ahead_bytes() == other.sent - required.had
        assert other.sent - required.had < WINDOW + 60
