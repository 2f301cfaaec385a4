"""Jittered exponential backoff, by tenacity, for protocol cores that only count attempts."""

from __future__ import annotations

import functools

import tenacity

# A collector that restarts needs about a second; sooner would only be refused again.
FIRST_S = 1.0


@functools.cache
def _wait(max_s: float) -> tenacity.wait.wait_base:
    first_s = min(FIRST_S, max_s / 4)
    # The jitter is on top of the exponential part, at its bound too: agents that were cut off together come back one by one.
    return tenacity.wait_exponential(multiplier=first_s, max=max_s - first_s) + tenacity.wait_random(
        0, first_s
    )


def backoff_s(attempt: int, max_s: float) -> float:
    """How long to wait before attempt number `attempt` (1 is the first retry), at most `max_s` seconds."""
    state = tenacity.RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = max(1, min(attempt, 64))
    return float(_wait(max_s)(state))
