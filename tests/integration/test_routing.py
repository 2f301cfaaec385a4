"""`switch` and fan-in with real processes: every case and source exactly once and in order, whoever is killed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from qanat.testing.cluster import (
    LOOPBACK,
    Cluster,
    Collector,
    free_port,
    published,
    temporary,
    written_bytes,
    written_lines,
)
from tests.integration.lines import append, assert_drains_clean, numbered, tail
from tests.integration.test_live_sources import LINES, connected, sending

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


def endures(cluster: Cluster, collector: Collector, cases: dict[Path, list[bytes]]) -> None:
    """Rounds of lines, with agent and collector killed in the midst of them."""
    agent = cluster.daemons[-1]
    cluster.start()
    for part in range(ROUNDS):
        append(cluster.directory / "in" / "a.log", levelled(part * ROUND, (part + 1) * ROUND))
        cluster.wait_until(lambda: any(map(written_lines, cases)), "something is stored")
        victim = collector if part % 2 else agent
        victim.kill()
        victim.start()
    cluster.wait_until(
        lambda: all(written_lines(out) == len(lines) for out, lines in cases.items()), "all is stored", 90.0
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
    cluster.wait_until(lambda: written_lines(out / "else") == len(others), "the other case is stored")
    blocked.unlink()
    cluster.wait_until(lambda: written_lines(blocked) == len(wanted(b"ERROR")), "the case catches up")
    cluster.stop()
    assert stored(out / "else") == others
    assert stored(blocked) == wanted(b"ERROR")


@pytest.mark.parametrize("channel", ["", " | fileChannel(capacity=64MiB)"])
def test_fan_in_of_files_stores_every_source_once_when_agent_and_collector_die(cluster, channel):
    c1 = cluster.collector("c1", "roll=300ms")
    (cluster.directory / "in2").mkdir()
    sources = f'[ {tail(cluster)}, tail("{cluster.directory}/in2/*.log") ]'
    agent = cluster.agent("a1", sources + channel, c1)
    cluster.start()
    for part in range(ROUNDS):
        for stream, place in (("s0", "in"), ("s1", "in2")):
            lines = numbered(part * ROUND, (part + 1) * ROUND, stream)
            append(cluster.directory / place / "same.log", lines)
        cluster.wait_until(lambda: c1.stored_events() > 0, "something is stored")
        victim = c1 if part % 2 else agent
        victim.kill()
        victim.start()
    cluster.wait_until_stored(2 * len(numbered(0, ROUNDS * ROUND, "s0")))
    assert_drains_clean(cluster, 2 * ROUNDS * ROUND, streams=2)


def test_flow_that_becomes_a_fan_in_goes_on_where_it_was(cluster):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", tail(cluster), c1)
    append(cluster.directory / "in" / "a.log", numbered(0, ROUND, "s0"))
    cluster.start()
    cluster.wait_until_stored(len(numbered(0, ROUND, "s0")))
    agent.kill()
    cluster.daemons.remove(agent)
    (cluster.directory / "in2").mkdir()
    append(cluster.directory / "in2" / "b.log", numbered(0, ROUND, "s1"))
    cluster.agent("a1", f'[ {tail(cluster)}, tail("{cluster.directory}/in2/*.log") ]', c1).start()
    cluster.wait_until_stored(2 * len(numbered(0, ROUND, "s0")))
    assert_drains_clean(cluster, 2 * ROUND, streams=2)


def test_fan_in_of_live_sources_stores_what_was_answered_once_when_the_collector_dies(cluster):
    c1, first, second = cluster.collector("c1", "roll=300ms"), free_port(), free_port()
    sources = f'[ netcat({first}, host="{LOOPBACK}"), syslogTcp({second}, host="{LOOPBACK}") ]'
    agent = cluster.agent("a1", sources, c1)
    cluster.start()
    with connected(cluster, first) as plain, connected(cluster, second) as syslog:
        for part in range(ROUNDS):
            lines = numbered(part * ROUND, (part + 1) * ROUND, "s0")
            plain.sendall(lines)
            told = numbered(part * ROUND, (part + 1) * ROUND, "s1").split(b"\n")[:-1]
            syslog.sendall(b"".join(b"<13>1 - h app - - - %b\n" % line for line in told))
            wanted = 2 * (part + 1) * ROUND
            c1.kill()
            cluster.wait_until(
                lambda wanted=wanted: agent.read_events() == wanted, "all to be in the channel"
            )
            c1.start()
    agent.kill()
    agent.start()
    cluster.wait_until_stored(2 * len(numbered(0, ROUNDS * ROUND, "s0")))
    assert_drains_clean(cluster, 2 * ROUNDS * ROUND, streams=2)


@pytest.mark.parametrize(
    ("source", "how"), [("files", ""), ("files", "(least_loaded)"), ("pushed", "(round_robin)")]
)
def test_balanced_load_is_stored_once_when_a_destination_dies_for_good_and_the_agent_is_killed(
    cluster, source, how
):
    c1, c2 = (cluster.collector(name, "roll=300ms") for name in ("c1", "c2"))
    port = free_port()
    read = tail(cluster) if source == "files" else f'netcat({port}, host="{LOOPBACK}")'
    sink = f"loadBalance{how} " + "[ agentE2EChain({0}, {1}), agentE2EChain({1}, {0}) ]"
    agent = cluster.agent("a1", read, c1, c2, sink=sink, tune={"agent.delivery.RETRY_S_MAX": 0.2})
    cluster.start()
    senders = sending(cluster, port, 2) if source == "pushed" else []
    streams, lines = (2, LINES) if senders else (8, ROUND)
    if not senders:
        for number in range(streams):
            append(cluster.directory / "in" / f"{number}.log", numbered(0, lines // 2, f"s{number}"))
    cluster.wait_until(lambda: c1.stored_events() > 0 and c2.stored_events() > 0, "both take part")
    c1.kill()
    if not senders:
        for number in range(streams):
            append(cluster.directory / "in" / f"{number}.log", numbered(lines // 2, lines, f"s{number}"))
        agent.kill()
        agent.start()
    for sender in senders:
        sender.join()
    size = sum(len(numbered(0, lines, f"s{number}")) for number in range(streams))
    cluster.wait_until(
        lambda: written_bytes(cluster.out) >= size,
        "all is stored",
        90.0,
    )
    c1.start()  # of what it has in open files, some was never committed, and is sent again
    assert_in_sum_once(cluster, streams, lines)


def test_collectors_least_loaded_sink_is_not_one_whose_storage_is_away_and_every_event_is_in_one_of_them(
    cluster,
):
    out = cluster.directory / "out"
    out.mkdir()
    blocked = out / "first"
    blocked.write_bytes(b"in the way of a directory")
    sink = f'loadBalance(least_loaded) [ file("{blocked}/", "x-"), file("{out}/second/", "x-") ]'
    c1 = cluster.collector("c1", sink=sink, tune={"collector.fan_out.runner.RETRY_S_MAX": 0.3})
    agent = cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    log, total = cluster.directory / "in" / "a.log", 3 * ROUND
    append(log, levelled(0, ROUND))
    cluster.wait_until(lambda: written_lines(out / "second") > 0, "the other sink takes part")
    c1.kill()
    blocked.unlink()
    c1.start()
    append(log, levelled(ROUND, 2 * ROUND))
    agent.kill()
    agent.start()
    append(log, levelled(2 * ROUND, total))
    cluster.wait_until(
        lambda: written_lines(blocked) + written_lines(out / "second") == total, "all is stored", 90.0
    )
    cluster.stop()
    assert sorted(stored(blocked) + stored(out / "second")) == levelled(0, total).splitlines()


def assert_in_sum_once(cluster: Cluster, streams: int, lines: int) -> None:
    """In all collectors' files together; a stream that moved is in order in each of them."""
    wanted = [line for n in range(streams) for line in numbered(0, lines, f"s{n}").splitlines()]

    def stored() -> list[bytes]:
        return [line for path in published(cluster.out) for line in path.read_bytes().splitlines()]

    cluster.wait_until(
        lambda: len(stored()) >= len(wanted) and not temporary(cluster.out), "all files are published"
    )
    cluster.stop()
    found = stored()
    assert len(found) == len(wanted)
    assert set(found) == set(wanted)
