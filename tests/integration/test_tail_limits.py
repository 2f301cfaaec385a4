"""`tail` with very long lines and very many files: what memory and how many system calls they cost."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.tail_driver import Driver

LONG = 100 << 20


@pytest.fixture
def long_line(tmp_path: Path) -> Iterator[Path]:
    """A log with a line of 100 MiB between two short ones."""
    log = tmp_path / "logs" / "app.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.write(b"before\n")
        for _block in range(LONG >> 20):
            file.write(b"x" * (1 << 20))
        file.write(b"\nafter\n")
    yield log
    log.unlink()


@pytest.mark.parametrize(
    ("policy", "kept_bytes"), [("split", LONG + 100), ("truncate", (1 << 20) + 1), ("dead-letter", 0)]
)
def test_long_line_takes_no_memory_to_match(
    tmp_path: Path, long_line: Path, policy: str, kept_bytes: int
) -> None:
    driver = Driver(tmp_path, "app.log", oversize=policy)
    driver.start()
    driver.poll()
    payload_bytes, position = 0, 0
    tracemalloc.start()
    while True:
        batch = driver.tail.read(1 << 20)
        if batch is None and driver.tail.lag_bytes() == 0:
            break
        if batch is None:  # a long search is interrupted for other streams
            continue
        assert batch.start == position
        position = batch.end
        payload_bytes += batch.payload_bytes
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert position == long_line.stat().st_size
    assert payload_bytes == len(b"before\nafter\n") + kept_bytes
    assert peak < 8 << 20
    if policy == "dead-letter":
        (letter,) = (driver.state_dir / "dead-letter").iterdir()
        assert letter.stat().st_size == LONG + 1
    driver.close()


def test_rewind_into_a_split_line_goes_on_with_its_next_piece(tmp_path: Path) -> None:
    driver = Driver(tmp_path, "app.log", event_bytes=10)
    (driver.logs / "app.log").write_bytes(b"short\n" + b"0123456789" * 3 + b"abc\nnext\n")
    driver.start()
    batches = driver.read()
    assert [bytes(batch.payload) for batch in batches] == [  # type: ignore[arg-type]
        b"short\n",
        *[b"0123456789\n"] * 3,
        b"abc\nnext\n",
    ]
    driver.commit(batches[:2])
    driver.rewind()
    driver.sync()
    assert driver.output() == b"".join(bytes(batch.payload) for batch in batches)  # type: ignore[arg-type]
    driver.close()


def test_idle_files_cost_nothing_when_others_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(tmp_path, "*.log")
    for number in range(10_000):
        (driver.logs / f"{number}.log").write_bytes(b"x\n")
    driver.start()
    driver.sync()
    assert len(driver.arrivals) == 10_000
    assert len(driver.tail._handles) <= 512
    calls = {"stat": 0, "pread": 0, "scandir": 0}

    def counted(name: str) -> Any:
        original = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return original(*args, **kwargs)

        return call

    for name in calls:
        monkeypatch.setattr(os, name, counted(name))
    for number in range(100):
        with (driver.logs / f"{number}.log").open("ab") as file:
            file.write(b"y\n")
    driver.sync()
    assert len(driver.arrivals) == 10_100
    assert calls["stat"] <= 300
    assert calls["pread"] <= 600
    assert calls["scandir"] == 0
    driver.close()
