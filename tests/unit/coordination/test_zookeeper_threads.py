"""kazoo's threads, when they end by an error that nobody foresaw."""

from __future__ import annotations

import pytest
import structlog

from qanat.coordination.zookeeper import _Handler


@pytest.mark.parametrize("begin", [print, lambda: [].pop()], ids=["ends", "fails"])
def test_thread_that_fails_says_why_in_a_line(begin):
    with structlog.testing.capture_logs() as said:
        _Handler(None).spawn(begin).join()
    assert [each["reason"] for each in said] == (
        [] if begin is print else ["IndexError('pop from empty list')"]
    )
