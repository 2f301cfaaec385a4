"""A collector's fan-out with real processes: every branch has everything, once and in order, through crashes."""

from __future__ import annotations

from qanat.testing.cluster import written_lines
from tests.integration.lines import append, assert_exactly_once, numbered, tail


def test_a_branch_that_was_away_catches_up_after_crashes_of_the_collector(cluster):
    a, b = cluster.directory / "a", cluster.directory / "b"
    b.parent.mkdir(parents=True, exist_ok=True)
    b.write_text("not a directory: this branch can't work")
    c1 = cluster.collector("c1", sink=f'[ file("{a}/", "x-"), file("{b}/", "x-") ]')
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    for part in range(4):
        append(cluster.directory / "in" / "a.log", numbered(part * 5_000, (part + 1) * 5_000))
        cluster.wait_until(lambda: c1.stored_events() > 0, "something is stored")
        c1.kill()
        c1.start()
    cluster.wait_until(lambda: written_lines(a) == 20_000, "the branch that works has everything")
    b.unlink()
    cluster.wait_until(lambda: written_lines(b) == 20_000, "the other one has caught up")
    cluster.stop()
    for branch in (a, b):
        assert_exactly_once(branch, 20_000)
