"""How long a line takes from the append to its file until it is committed in storage.

    python bench/latency.py [--lines N] [--json]

A line is appended every 10 ms; the commit record in the coordination store is read every 2 ms, and a line is committed once the
record covers its last byte. One run at the default commit interval, one at 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cluster import LINE_BYTES, committed_bytes, free_port, program

from qanat.coordination.open import open_store
from qanat.coordination.store import Store

EVERY_S = 0.010
POLL_S = 0.002


async def append_lines(path: Path, lines: int, appended: list[float]) -> None:
    """One line of LINE_BYTES every EVERY_S; when each was written goes to `appended`."""
    with path.open("ab", buffering=0) as file:
        began = time.perf_counter()
        for number in range(lines):
            await asyncio.sleep(max(0.0, began + number * EVERY_S - time.perf_counter()))
            line = b"seq=%010d " % number
            file.write(line.ljust(LINE_BYTES - 1, b"x") + b"\n")
            appended.append(time.perf_counter())


async def watch_commits(store: Store, sink: str, lines: int, committed: list[float]) -> None:
    """When each line was first seen committed goes to `committed`. Raises TimeoutError after a minute without news."""
    deadline = time.perf_counter() + 60
    while len(committed) < lines:
        stored = await committed_bytes(store, sink)
        now = time.perf_counter()
        if stored // LINE_BYTES > len(committed):
            committed.extend([now] * (stored // LINE_BYTES - len(committed)))
            deadline = now + 60
        elif now > deadline:
            raise TimeoutError(f"{len(committed)} of {lines} lines committed, and no more for a minute")
        await asyncio.sleep(POLL_S)


async def converse(directory: Path, lines: int) -> list[float]:
    """Seconds from append to commit, a line each."""
    appended: list[float] = []
    committed: list[float] = []
    store = open_store(f"embedded:{directory}/state/store.db")
    try:
        await asyncio.gather(
            append_lines(directory / "in.log", lines, appended),
            watch_commits(store, "c1/coll", lines, committed),
        )
    finally:
        await store.close()
    return [end - begin for begin, end in zip(appended, committed, strict=True)]


def measure(directory: Path, lines: int, interval: str | None) -> dict[str, Any]:
    """One run in `directory` at a commit interval; None is the default."""
    port = free_port()
    flow = directory / "bench.flow"
    flow.write_text(
        f'web : tail("{directory}/in.log") | agentE2ESink("127.0.0.1", {port}) ;\n'
        f'coll : collectorSource({port}, "127.0.0.1") | file("{directory}/out", "web-") ;\n'
    )
    options = [] if interval is None else ["--commit-interval", interval]
    state, logs = str(directory / "state"), [directory / "collector.txt", directory / "agent.txt"]
    with (
        program(logs[0], "collector", str(flow), "--name", "c1", "--state-dir", state, *options) as collector,
        program(logs[1], "agent", str(flow), "--name", "a1", "--state-dir", state) as agent,
    ):
        collector.wait_for("sink_ready")
        agent.wait_for("collector_welcomes")
        seconds = asyncio.run(converse(directory, lines))
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "interval": interval or "default",
        "p50_ms": cuts[49] * 1e3,
        "p99_ms": cuts[98] * 1e3,
        "lines": lines,
    }


def main() -> int:
    """Two runs, printed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=1000, help="lines a run, 10 ms apart (default 1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = []
    for interval in (None, "50ms"):
        with tempfile.TemporaryDirectory(prefix="qanat-latency-") as directory:
            results.append(measure(Path(directory), options.lines, interval))
    if options.json:
        print(json.dumps({"runs": results}))
    else:
        for run in results:
            print(
                f"commit interval {run['interval']:<8} p50 {run['p50_ms']:6.1f} ms   p99 {run['p99_ms']:6.1f} ms"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
