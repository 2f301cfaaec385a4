"""How fast files become batches: `spoolDir`, and lines that are joined to events. Run by `bench/sources.py`.

The source is read as its thread in an agent reads it, with nothing behind it. Rates are of lines of 200 bytes, so that the rows
can be compared: four of them are an event where they are joined.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.joining.config import Multiline
from agent.sources.spool_dir import SpoolDir, SpoolDirConfig
from agent.sources.tail import Tail, TailConfig
from qanat import limits
from qanat.component import Context, Source, StreamFound

LINE_BYTES = 200
LINES_AN_EVENT = 4
FILES = 10  # a spool directory gets files of some 100 MB, and each costs a rename


def written(directory: Path, lines: int, line: Callable[[int], bytes]) -> None:
    """Ten files of a tenth each."""
    directory.mkdir()
    for number in range(FILES):
        block = b"".join(
            each + b"x" * (LINE_BYTES - 1 - len(each)) + b"\n" for each in map(line, range(10_000))
        )
        with (directory / f"{number}.log").open("wb") as file:
            for _ in range(lines // FILES // 10_000):
                file.write(block)


def spool(directory: Path, lines: int) -> dict[str, Any]:
    """Lines of finished files."""
    written(directory / "spool", lines, lambda number: b"n=%d " % number)
    source = SpoolDir(SpoolDirConfig(directory=str(directory / "spool")), _context(directory))
    return _read("spoolDir", source, lines, 1)


def joined(directory: Path, lines: int) -> dict[str, Any]:
    """Stack traces."""
    written(
        directory / "logs", lines, lambda number: b"  at " if number % LINES_AN_EVENT else b"2026-11-22 boom "
    )
    config = TailConfig(paths=[f"{directory}/logs/*.log"], multiline=Multiline(start="^2026"))
    return _read("multiline", Tail(config, _context(directory)), lines, LINES_AN_EVENT)


def _context(directory: Path) -> Context:
    state = directory / "state"
    state.mkdir()
    return Context("p", "bench", "h", state)


def _read(kind: str, source: Source, lines: int, lines_an_event: int) -> dict[str, Any]:
    source.open()
    source.recover({})
    began_s, busy_s = time.perf_counter(), time.process_time()
    found = 0
    # The last event of a file that nobody has finished is open.
    while found < lines - FILES * lines_an_event * (lines_an_event > 1):
        found += _step(source) * lines_an_event
    seconds, busy_s = time.perf_counter() - began_s, time.process_time() - busy_s
    source.close()
    return {
        "kind": kind,
        "events": found,
        "events_s": round(found / seconds),
        "events_cpu_s": round(found / busy_s),
    }


def _step(source: Source) -> int:
    """The events of one batch; what is new is looked for when there is none."""
    batch = source.read(limits.BATCH_BYTES_TARGET)
    if batch is not None:
        source.acknowledge({batch.stream: batch.end})
        return batch.count
    for news in source.poll(0.1):
        if isinstance(news, StreamFound):
            source.seek(news.stream, news.position)
        else:
            source.acknowledge({news.stream: news.end})
    return 0
