"""`switch` with real processes: each case has its events exactly once and in order, whoever is killed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from qanat.testing.cluster import Cluster, Collector, published
from tests.integration.lines import append, tail

ROUND = 4_000
ROUNDS = 4
LEVELS = (b"ERROR", b"WARN", b"INFO", b"DEBUG")
LEVEL = r'regex("level=(\\w+)", 1, "level")'


def levelled(first: int, last: int) -> bytes:
    return b"".join(b"stream=s seq=%010d level=%s\n" % (n, LEVELS[n % 4]) for n in range(first, last))


def wanted(*levels: bytes) -> list[bytes]:
    return [line for line in levelled(0, ROUNDS * ROUND).splitlines() if line.rsplit(b"=", 1)[1] in levels]


def stored(directory: Path) -> list[bytes]:
    """In the order of the files, which is that of the stream."""
    return [line for path in published(directory) for line in path.read_bytes().splitlines()]


def written(directory: Path) -> int:
    """Committed or not, visible or not."""
    if not directory.is_dir():
        return 0
    return sum(path.read_bytes().count(b"\n") for path in directory.rglob("*x-*") if path.is_file())


def endures(cluster: Cluster, collector: Collector, cases: dict[Path, list[bytes]]) -> None:
    """Rounds of lines, with agent and collector killed in the midst of them."""
    agent = cluster.daemons[-1]
    cluster.start()
    for part in range(ROUNDS):
        append(cluster.directory / "in" / "a.log", levelled(part * ROUND, (part + 1) * ROUND))
        cluster.wait_until(lambda: any(map(written, cases)), "something is stored")
        victim = collector if part % 2 else agent
        victim.kill()
        victim.start()
    cluster.wait_until(
        lambda: all(written(out) == len(lines) for out, lines in cases.items()), "all is stored", 90.0
    )
    cluster.stop()
    for out, lines in cases.items():
        assert sorted(stored(out)) == sorted(lines), (
            out
        )  # names of files of one life sort, those of two do not
        for path in published(out):
            found = path.read_bytes().splitlines()
            assert found == sorted(found)


@pytest.mark.parametrize("required", ["", ", required=true"])
def test_collectors_switch_gives_each_case_its_events_once_when_agent_and_collector_die(cluster, required):
    out = cluster.directory / "out"
    cases = {
        out / "first": wanted(b"ERROR"),
        out / "second": wanted(b"ERROR"),
        out / "warn": [],
        out / "else": wanted(b"INFO", b"DEBUG"),
    }
    sink = (
        f'{LEVEL} switch("%{{level}}") {{ "ERROR" => [ file("{out}/first/", "x-"{required}), file("{out}/second/", "x-") ], '
        f'"WARN" => drop("level") file("{out}/warn/", "x-"), else => file("{out}/else/", "x-"{required}) }}'
    )
    c1 = cluster.collector("c1", sink=sink)
    cluster.agent("a1", tail(cluster), c1)
    endures(cluster, c1, cases)


@pytest.mark.parametrize("channel", ["", " | fileChannel(capacity=64MiB)"])
def test_agents_switch_sends_each_case_to_its_collector_once(cluster, channel):
    outs = [cluster.directory / "out" / name for name in ("c1", "c2")]
    c1, c2 = (cluster.collector(out.name, sink=f'file("{out}/", "x-")') for out in outs)
    cases = '{{ "ERROR" => agentE2EChain({0}), "WARN" => agentE2EChain({1}) }}'
    sink = LEVEL + ' switch("%{{level}}") ' + cases
    cluster.agent("a1", tail(cluster) + channel, c1, c2, sink=sink)
    endures(cluster, c1, {outs[0]: wanted(b"ERROR"), outs[1]: wanted(b"WARN")})


def test_case_whose_storage_is_away_holds_up_no_other_and_gets_what_was_decided_for_it(cluster):
    out = cluster.directory / "out"
    out.mkdir()
    blocked = out / "error"
    blocked.write_bytes(b"in the way of a directory")
    sink = f'{LEVEL} switch("%{{level}}") {{ else => file("{out}/else/", "x-"), "ERROR" => file("{blocked}/", "x-") }}'
    c1 = cluster.collector("c1", sink=sink, tune={"collector.fan_out.runner.RETRY_S_MAX": 0.3})
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    append(cluster.directory / "in" / "a.log", levelled(0, ROUNDS * ROUND))
    others = wanted(b"WARN", b"INFO", b"DEBUG")
    cluster.wait_until(lambda: written(out / "else") == len(others), "the other case is stored")
    blocked.unlink()
    cluster.wait_until(lambda: written(blocked) == len(wanted(b"ERROR")), "the case catches up")
    cluster.stop()
    assert stored(out / "else") == others
    assert stored(blocked) == wanted(b"ERROR")
