"""`qanat verify` over real files in every format."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cramjam
import fastavro
import pyarrow as pa
import pytest
from pyarrow import orc, parquet

from qanat.cli.main import main
from qanat.ledger import blocks

PATTERN = r"seq=(\d+)"


def lines(*numbers: int) -> bytes:
    return b"".join(b"x seq=%d y seq=7\n" % n for n in numbers)


def verify(capfd: pytest.CaptureFixture[str], *arguments: object, code: int) -> dict[str, Any]:
    command = ["verify", *map(str, arguments), "--json"]
    command += [] if "--pattern" in arguments else ["--pattern", PATTERN]
    assert main(command) == code
    report: dict[str, Any] = json.loads(capfd.readouterr().out)
    return report


def counts(report: dict[str, Any]) -> tuple[int, int, int, int]:
    return report["events"], report["lost"], report["doubled"], report["reordered"]


def bodies() -> list[bytes]:
    return [b"seq=1", b"a\nseq=2\n", b"\xff seq=3", b"seq=4"]


def write_parquet(path: Path) -> None:
    parquet.write_table(pa.table({"body": pa.array(bodies(), pa.binary()), "other": [1] * 4}), path)


def write_orc(path: Path) -> None:
    orc.write_table(pa.table({"body": pa.array(bodies(), pa.binary())}), path)


def write_avro(path: Path) -> None:
    schema = {"type": "record", "name": "E", "fields": [{"name": "body", "type": "bytes"}]}
    with path.open("wb") as file:
        fastavro.writer(file, schema, [{"body": body} for body in bodies()], codec="deflate")


def write_zstd(path: Path) -> None:
    with pa.output_stream(str(path), compression="zstd") as stream:
        stream.write(lines(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.log", lambda path: path.write_bytes(lines(1, 2, 3, 4)[:-1])),
        (
            "a.json",
            lambda path: path.write_bytes(b'{"body":"seq=1"}\n{"body":"seq=2"}\n{"body":"seq=3"}\n"seq=4"\n'),
        ),
        ("a.log.gz", lambda path: path.write_bytes(gzip.compress(lines(1, 2)) + gzip.compress(lines(3, 4)))),
        ("a.bz2", lambda path: path.write_bytes(bz2.compress(lines(1, 2)) + bz2.compress(lines(3, 4)))),
        ("a.zst", write_zstd),
        ("a.snappy", lambda path: path.write_bytes(bytes(cramjam.snappy.compress(lines(1, 2, 3, 4))))),
        ("a.parquet", write_parquet),
        ("a.orc", write_orc),
        ("a.avro", write_avro),
    ],
)
def test_verify_reads_every_format(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, write: Callable[[Path], object]
) -> None:
    write(tmp_path / name)
    report = verify(capfd, tmp_path, code=0)
    assert counts(report) == (4, 0, 0, 0)
    assert (report["unmatched"], report["files"], report["first"], report["last"]) == (0, 1, 1, 4)


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ((1, 2, 3), (3, 0, 0, 0)),
        ((1, 4), (2, 2, 0, 0)),
        ((1, 2, 2, 3), (4, 0, 1, 0)),
        ((2, 1, 3), (3, 0, 0, 1)),
        ((3, 1, 2, 1), (4, 0, 1, 3)),
        ((1, 10**15), (2, 10**15 - 2, 0, 0)),
        ((), (0, 0, 0, 0)),
    ],
)
def test_verify_counts_and_fails_when_anything_is_wrong(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], numbers: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    (tmp_path / "a").write_bytes(lines(*numbers))
    code = 0 if wanted == (3, 0, 0, 0) else 1
    assert counts(verify(capfd, tmp_path, code=code)) == wanted


@pytest.mark.parametrize(
    ("options", "lost", "unexpected"),
    [
        (["--first", 1], 4, 0),
        (["--last", 9], 2, 0),
        (["--first", 0, "--last", 6], 5, 1),
        (["--first", 0, "--expect", 10], 7, 0),
        (["--last", 7, "--expect", 2], 0, 1),
        (["--expect", 5], 2, 0),
    ],
)
def test_verify_compares_with_what_is_expected(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[object], lost: int, unexpected: int
) -> None:
    (tmp_path / "a").write_bytes(lines(5, 6, 7))
    report = verify(capfd, tmp_path, *options, code=1)
    assert (report["lost"], report["unexpected"]) == (lost, unexpected)


def test_verify_joins_rolled_files_of_one_sink_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def name(sink: str, second: int, number: int) -> str:
        return f"log-{sink}@c-20231122T0730{second:02d}.123Z-{number:08d}.log"

    (tmp_path / name("a", 9, 1)).write_bytes(lines(5, 6))
    (tmp_path / name("a", 10, 2)).write_bytes(lines(1, 9))  # 1 is out of order after 6
    (tmp_path / name("b", 11, 3)).write_bytes(lines(2, 3, 4, 7, 8))  # another sink: another sequence
    report = verify(capfd, tmp_path, code=1)
    assert counts(report) == (9, 0, 0, 1)


def test_verify_keeps_streams_apart(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(b"p/1\nq/1\np/2\nq/3\np/3\nnothing\n")
    report = verify(capfd, tmp_path, "--pattern", r"(?P<stream>\w)/(?P<seq>\d)", code=1)
    assert counts(report) == (5, 1, 0, 0)
    assert (report["streams"], report["unmatched"]) == (2, 1)
    assert report["faulty"][0]["stream"] == "q"
    assert report["faulty"][0]["lost_ranges"] == [[2, 2]]
    args = ["--pattern", r"(?i)/(\d)", "--stream-pattern", r"^(\w)/"]
    assert counts(verify(capfd, tmp_path, *args, code=1)) == (5, 1, 0, 0)


def test_verify_skips_hidden_files_and_reads_each_file_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_bytes(lines(1, 2))
    (tmp_path / ".b").write_bytes(lines(1, 2))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c").write_bytes(lines(1, 2))
    assert counts(verify(capfd, tmp_path, tmp_path / "a", code=0)) == (2, 0, 0, 0)


def test_verify_finds_lines_across_blocks(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_READ_BYTES", 7)
    (tmp_path / "a").write_bytes(lines(*range(100)) + b"x" * 50 + b"\n\nseq=100")
    report = verify(capfd, tmp_path, code=0)
    assert (report["events"], report["unmatched"]) == (101, 2)


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("a.gz", gzip.compress(lines(*range(1000)), mtime=0)[:-20], 1, "could not be decoded as .gz"),
        ("a.snappy", bytes(cramjam.snappy.compress(lines(*range(1000))))[:-5], 1, "ends in mid-frame"),
        ("a.parquet", b"PAR1", 1, "could not be decoded as .parquet"),
        ("a.log", b"seq=99999999999999999999\n", 2, "is not a number within 64 bits"),
    ],
)
def test_verify_explains_a_file_that_it_cannot_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, code: int, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["verify", str(tmp_path), "--pattern", PATTERN]) == code
    err = capfd.readouterr().err
    assert str(tmp_path / name) in err
    assert message in err


def test_verify_says_so_when_a_file_changes_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(lines(1))
    reading = blocks.read_blocks(path)
    next(reading)
    path.write_bytes(lines(1, 2))
    with pytest.raises(blocks.RetryableError, match="changed while it was read"):
        list(reading)


@pytest.mark.parametrize("pattern", ["seq=", "seq=(", r"(\d"])
def test_verify_refuses_a_pattern_without_a_group(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], pattern: str
) -> None:
    assert main(["verify", str(tmp_path), "--pattern", pattern]) == 2
    assert "--pattern" in capfd.readouterr().err


def test_verify_prints_a_summary(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_bytes(lines(1, 2, 5, 5))
    assert main(["verify", str(tmp_path), "--pattern", PATTERN]) == 1
    out = capfd.readouterr().out
    assert "lost 2, doubled 1, reordered 0" in out
    assert "(3-4, ...)" in out
