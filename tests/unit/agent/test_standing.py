"""Which collector takes what is delivered, and since when."""

from __future__ import annotations

from agent.standing import Standing
from qanat.clock import ManualClock


def test_age_is_that_of_the_first_welcome_and_of_the_first_loss_in_a_row():
    clock = ManualClock()
    standing = Standing(clock)
    seen = []
    for step in (
        standing.left,  # the first attempt
        lambda: standing.welcomed("c1:1"),
        lambda: standing.welcomed("c1:1"),
        standing.left,
        standing.left,
        lambda: standing.welcomed("c2:1"),
    ):
        clock.advance(10.0)
        step()
        clock.advance(1.0)
        seen.append(standing.now())
    assert seen == [("", 11.0), ("c1:1", 1.0), ("c1:1", 12.0), ("", 1.0), ("", 12.0), ("c2:1", 1.0)]
