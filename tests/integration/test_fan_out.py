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


def test_a_branch_that_is_the_only_one_left_takes_what_the_log_has_for_it(cluster):
    a, b, c = (cluster.directory / name for name in "abc")
    a.write_text("not a directory: this branch can't work")

    def flow(*directories):
        sinks = ", ".join(f'file("{each}/", "x-")' for each in directories)
        return f'coll : collectorSource({c1.port}, "127.0.0.1") | [ {sinks} ] ;'

    c1 = cluster.collector("c1", sink=f'[ file("{a}/", "x-"), file("{b}/", "x-") ]')
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    append(cluster.directory / "in" / "a.log", numbered(0, 5_000))
    cluster.wait_until(lambda: written_lines(b) == 5_000, "the branch that works has everything")
    for part, directories in enumerate([(a,), (a,), (a, c)], start=1):
        c1.kill()
        (cluster.directory / "flows" / "c1.flow").write_text(flow(*directories))
        c1.start()
        if part == 1:
            a.unlink()
        append(cluster.directory / "in" / "a.log", numbered(part * 5_000, (part + 1) * 5_000))
        lines = (part + 1) * 5_000
        cluster.wait_until(lambda lines=lines: written_lines(a) == lines, "all of it is in the first")
    cluster.wait_until(lambda: written_lines(c) == 5_000, "the new one begins at its end")
    cluster.stop()
    assert_exactly_once(a, 20_000)
