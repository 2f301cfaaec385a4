from __future__ import annotations

from agent.lag import NOTES_MAX, Lag


def test_lag_is_the_time_since_what_is_unread_was_there_first():
    lag = Lag()
    assert lag.measured(0, 100, 10.0) == 0.0
    assert lag.measured(0, 300, 15.0) == 5.0
    assert lag.measured(100, 200, 17.0) == 2.0  # what was there at 10 is read; the rest came by 15
    assert lag.measured(200, 100, 20.0) == 5.0
    assert lag.measured(300, 0, 21.0) == 0.0


def test_source_that_is_always_a_little_behind_does_not_seem_to_fall_back():
    lag = Lag()
    ages = [lag.measured(100 * second, 50, float(second)) for second in range(1000)]
    assert max(ages) <= 1.0


def test_what_is_read_again_counts_from_when_it_was_there_first():
    lag = Lag()
    lag.measured(0, 100, 0.0)
    lag.measured(90, 10, 5.0)
    assert lag.measured(0, 100, 8.0) == 8.0


def test_notes_of_a_source_that_is_never_read_are_limited():
    lag = Lag()
    for second in range(10 * NOTES_MAX):
        lag.measured(0, second + 1, float(second))
        assert len(lag._seen) <= NOTES_MAX
    assert lag.measured(0, 10 * NOTES_MAX, 10.0 * NOTES_MAX) == 10.0 * NOTES_MAX
