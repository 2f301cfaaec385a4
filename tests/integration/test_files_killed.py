"""Sources on files in a real cluster, whose agent and collector are killed in mid-stream: a ledger over what is stored."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from qanat.testing.cluster import Cluster, published
from tests.integration.lines import append, assert_drains_clean, assert_exactly_once, numbered


def drop(cluster: Cluster, name: str, data: bytes) -> None:
    """A file as it should appear: written elsewhere, and moved."""
    whole = cluster.directory / "whole"
    whole.write_bytes(data)
    whole.rename(cluster.directory / "in" / name)


def left(cluster: Cluster) -> list[str]:
    return sorted(path.name for path in (cluster.directory / "in").iterdir())


@pytest.mark.parametrize("options", ['order="oldest"', 'delete="immediate"', 'tracking="tracker_dir"'])
def test_spooled_files_are_stored_once_when_agent_and_collector_are_killed(cluster, options):
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", f'spoolDir("{cluster.directory}/in", stable=0s, {options})', c1)
    files, lines = 20, 20_000
    for number in range(10):
        drop(cluster, f"{number:03d}.log", numbered(number * lines, (number + 1) * lines))
    cluster.start()
    for number in range(10, files):
        data = numbered(number * lines, (number + 1) * lines)
        drop(
            cluster,
            f"{number:03d}.log" + ".gz" * (number % 2),
            gzip.compress(data, 1) if number % 2 else data,
        )
        if number % 10 == 3:
            cluster.wait_until(lambda: agent.read_events() or c1.stored_events(), "the agent to read")
            agent.kill()
            agent.start()
        if number % 10 == 7:
            cluster.wait_until(lambda: agent.read_events() or c1.stored_events(), "the agent to read")
            c1.kill()
            c1.start()
    total = len(numbered(0, files * lines))
    cluster.wait_until_stored(total)
    done = {
        'order="oldest"': lambda: all(name.endswith(".COMPLETED") for name in left(cluster)),
        'delete="immediate"': lambda: not left(cluster),
        'tracking="tracker_dir"': lambda: (
            len(list((cluster.directory / "in" / ".qanatspool").iterdir())) == files
        ),
    }[options]
    cluster.wait_until(done, "every file to be completed")
    assert_drains_clean(cluster, files * lines)


def test_spooled_files_reach_every_destination_also_one_that_comes_later(cluster):
    c1, c2 = cluster.collector("c1", "roll=300ms"), cluster.collector("c2", "roll=300ms")
    sink = "[ agentE2EChain({0}), agentE2EChain({1}) ]"
    agent = cluster.agent("a1", f'spoolDir("{cluster.directory}/in", stable=0s)', c1, c2, sink=sink)
    drop(cluster, "a.log", numbered(0, 10_000))
    c1.start()
    agent.start()
    cluster.wait_until(lambda: left(cluster) == ["a.log.COMPLETED"], "the file to be completed")
    agent.kill()
    agent.start()
    c2.start()
    cluster.wait_until_stored(2 * len(numbered(0, 10_000)))
    cluster.stop()
    for each in (c1, c2):
        assert_exactly_once(each.out, 10_000)


def test_text_is_stored_once_when_agent_and_collector_are_killed(cluster):
    total = 400_000
    (cluster.directory / "in" / "a.txt").write_bytes(numbered(0, total))
    c1 = cluster.collector("c1", "roll=300ms")
    agent = cluster.agent("a1", f'text("{cluster.directory}/in/a.txt")', c1)
    cluster.start()
    for victim in (agent, c1):
        cluster.wait_until(lambda: agent.read_events() or c1.stored_events(), "the agent to read")
        victim.kill()
        victim.start()
    cluster.wait_until_stored(len(numbered(0, total)))
    agent.kill()
    agent.start()
    agent.wait_for("agent_started")  # and reads nothing more
    assert_drains_clean(cluster, total)


LINES = 7  # of an event


def event(number: int) -> bytes:
    return b"".join(
        b"%d event=%06d line=%d\n" % (0, number, 0) if line == 0 else b"  at %d line=%d\n" % (number, line)
        for line in range(LINES)
    )


def bodies(root: Path) -> list[bytes]:
    rows = [json.loads(line) for path in published(root) for line in path.read_bytes().splitlines()]
    return [
        row["body"].encode() for row in sorted(rows, key=lambda row: int(row["body"].split("event=")[1][:6]))
    ]


def test_events_of_several_lines_are_stored_whole_and_once_through_rotation_and_kills(cluster):
    log = cluster.directory / "in" / "app.log"
    c1 = cluster.collector("c1", 'format="json", roll=300ms')
    source = f'tail("{log}", rotate_wait=500ms, multiline=multiline(start="^\\\\d", timeout=30s))'
    agent = cluster.agent("a1", source, c1)
    cluster.start()
    events, text = 6_000, b""
    for number in range(events):
        text += event(number)
        if number % 1000 == 500:  # in the middle of an event
            cut = len(text) - 40
            append(log, text[: text.rfind(b"\n", 0, cut) + 1])
            text = text[text.rfind(b"\n", 0, cut) + 1 :]
            cluster.wait_until(lambda: agent.read_events() or c1.stored_events(), "the agent to read")
            log.rename(log.with_name(f"app.log.{number}"))
            victim = agent if number % 2000 == 500 else c1
            append(log, text)
            text = b""
            victim.kill()
            victim.start()
    append(log, text + b"0 event=999999 the end\n")
    wanted = [event(number).removesuffix(b"\n") for number in range(events)]
    cluster.wait_until(
        lambda: sum(path.read_bytes().count(b"\n") for path in published(cluster.out)) >= events, "all events"
    )
    cluster.stop()
    assert bodies(cluster.out)[:events] == wanted
