"""From a file, through an agent and a collector, into files: all formats, any bytes, clean ends, restarts."""

from __future__ import annotations

import json
import random

import fastavro
import pyarrow.csv
import pyarrow.orc
import pyarrow.parquet
import pytest

from qanat.testing.cluster import ledger, published, stored_bytes, temporary
from tests.integration.lines import append, assert_drains_clean, assert_exactly_once, numbered, tail

FORMATS = ("raw", "json", "csv", "avro", "parquet", "orc")


@pytest.mark.parametrize("form", FORMATS)
def test_every_line_is_stored_once_in_format(cluster, form):
    append(cluster.directory / "in" / "a.log", numbered(0, 20_000))
    c1 = cluster.collector("c1", f'format="{form}"')
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    append(cluster.directory / "in" / "b.log", numbered(0, 5_000, "t"))
    cluster.wait_until(lambda: c1.stored_events() == 25_000, "25,000 events")
    assert published(c1.out) == []  # not rolled yet: readers see no half file
    assert_drains_clean(cluster, 25_000, streams=2)


def bodies() -> list[bytes]:
    """Every byte but the line end, in every place that a format or a protocol may find hard."""
    chance = random.Random(1)
    found = [bytes([byte]) for byte in range(256) if byte != 0x0A]
    found += [
        b"",
        b"",
        b"\r",
        b"crlf\r",
        b"\x00\x00",
        b"\xff\xfe bad utf-8 \xc3\x28",
        "déjà-vu \U0001f600".encode(),
    ]
    found += [b'a,"quoted",b', b"{}", b"\\n", b"%Y%{host}", b"x" * 100_000]
    found += [bytes(chance.choice(range(11, 256)) for _ in range(200)) for _ in range(50)]
    return found


def read_bodies(form, paths):
    """What a reader of these files finds as body; text for those formats that have no bytes."""
    if form == "raw":
        return b"".join(path.read_bytes() for path in paths).removesuffix(b"\n").split(b"\n")
    if form == "parquet":
        return [body for path in paths for body in pyarrow.parquet.read_table(path)["body"].to_pylist()]
    if form == "orc":
        return [body for path in paths for body in pyarrow.orc.read_table(path)["body"].to_pylist()]
    found = []
    for path in paths:
        with path.open("rb") as file:
            found += [record["body"] for record in fastavro.reader(file)]
    return found


@pytest.mark.parametrize("form", ["raw", "avro", "parquet", "orc"])
def test_bodies_of_any_bytes_arrive_as_they_were(cluster, form):
    wanted = bodies()
    append(cluster.directory / "in" / "a.log", b"\n".join(wanted) + b"\n")
    c1 = cluster.collector("c1", f'format="{form}"')
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == len(wanted), "all bodies")
    cluster.stop()
    assert read_bodies(form, published(c1.out)) == wanted


@pytest.mark.parametrize("form", ["json", "csv"])
def test_text_formats_keep_the_number_and_order_of_bodies(cluster, form):
    wanted = [body for body in bodies() if b"\x00" not in body]
    append(cluster.directory / "in" / "a.log", b"\n".join(wanted) + b"\n")
    c1 = cluster.collector("c1", f'format="{form}"')
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == len(wanted), "all bodies")
    cluster.stop()
    if form == "json":
        rows = [json.loads(line) for path in published(c1.out) for line in path.read_bytes().splitlines()]
        assert len(rows) == len(wanted)
    else:
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        assert sum(
            pyarrow.csv.read_csv(path, parse_options=parse).num_rows for path in published(c1.out)
        ) == len(wanted)


def test_last_line_without_an_end_is_stored_when_its_file_is_over(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1")
    source = f'tail("{log}", rotate_wait=200ms)'
    cluster.agent("a1", source, c1)
    cluster.start()
    append(log, numbered(0, 10) + numbered(10, 11).removesuffix(b"\n"))
    cluster.wait_until(lambda: c1.stored_events() == 10, "the complete lines")
    log.rename(log.with_suffix(".log.1"))
    append(log, numbered(11, 20))
    cluster.wait_until(lambda: c1.stored_events() == 20, "all lines")
    assert_drains_clean(cluster, 20)


def test_sigterm_commits_what_the_agent_has_read(cluster):
    log = cluster.directory / "in" / "a.log"
    cluster.collector("c1", "roll=1h", commit="1s")  # nothing is committed or published before it stops
    agent = cluster.agent("a1", tail(cluster), *cluster.daemons)
    for life in range(1, 4):
        append(log, numbered((life - 1) * 3_000, life * 3_000))
        cluster.start()
        cluster.wait_until(lambda: agent.read_events() == 3_000, "the agent to read 3,000 more lines")
        assert_drains_clean(cluster, life * 3_000)


def test_sigterm_in_mid_stream_leaves_no_hole_and_a_restart_stores_the_rest(cluster):
    total = 600_000
    append(cluster.directory / "in" / "a.log", numbered(0, total))
    c1 = cluster.collector("c1", "roll=1h", commit="20ms")
    agent = cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    cluster.wait_until(lambda: agent.read_events() > 0, "the first batch")
    cluster.stop()
    stored = len(b"".join(path.read_bytes() for path in published(c1.out)).splitlines())
    assert stored
    assert_exactly_once(cluster.out, stored)
    assert not temporary(cluster.out)
    cluster.start()
    cluster.wait_until(lambda: stored + c1.stored_events() == total, "the rest")
    assert_drains_clean(cluster, total)


def test_readers_see_only_whole_files_while_they_are_written(cluster):
    log = cluster.directory / "in" / "a.log"
    c1 = cluster.collector("c1", "roll=100ms", commit="20ms")
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    sizes: dict[str, int] = {}
    written = lines = 0
    while lines < 40_000:
        written += append(log, numbered(lines, lines + 500))
        lines += 500
        for path in published(c1.out) if c1.out.exists() else []:
            assert sizes.setdefault(path.name, path.stat().st_size) == path.stat().st_size
    cluster.wait_until_stored(written)
    assert stored_bytes(c1.out) == written
    assert_drains_clean(cluster, lines)


def test_ten_thousand_small_files_are_stored_once(cluster):
    directory = cluster.directory / "in"
    for number in range(10_000):
        (directory / f"{number}.log").write_bytes(numbered(number * 3, number * 3 + 3))
    c1 = cluster.collector("c1")
    cluster.agent("a1", tail(cluster), c1)
    cluster.start()
    cluster.wait_until(lambda: c1.stored_events() == 30_000, "30,000 events of 10,000 files", 120)
    cluster.stop()
    report = ledger(cluster.out, r"seq=(\d+)", 0, 29_999)
    # The order of lines of different files is not promised.
    assert (report.events, report.lost, report.doubled) == (30_000, 0, 0), report
