"""Events a second from a tailed file into a durable file: one agent process, one collector process, E2E.

    python bench/throughput.py [--lines N] [--format raw] [--store URL] [--json] [--keep DIR]

Every line is read, sent over gRPC, written, made durable with fdatasync, committed to the store and acknowledged.
The clock starts when the file appears where the agent looks (the programs are up and connected by then) and stops when
the commit record covers its last byte. In the same run the same file is copied with fsync, before and after, as the limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cluster import (
    LINE_BYTES,
    committed_bytes,
    copy_seconds,
    free_port,
    ledger,
    program,
    write_lines,
)

from qanat.coordination.open import open_store
from qanat.testing.daemon import Daemon

SINK = "c1/coll"


# How often the commit record is read: a percent of a run, and no work to speak of for the cores that are measured (every
# 10 ms cost the servers and the client of a ZooKeeper a tenth of them).
LOOK_S = 0.04


def stored_after_s(store: str, total_bytes: int, start: Callable[[], object], *running: Daemon) -> float:
    """Seconds from `start` until the commit record covers `total_bytes`."""
    return asyncio.run(_stored_after_s(store, total_bytes, start, running))


async def _stored_after_s(
    url: str, total_bytes: int, start: Callable[[], object], running: tuple[Daemon, ...]
) -> float:
    store = open_store(url)
    try:
        await committed_bytes(store, SINK)  # connects
        began = time.perf_counter()
        start()
        while await committed_bytes(store, SINK) < total_bytes:
            if not all(each.is_running for each in running):
                raise RuntimeError("a program ended before everything was stored")
            await asyncio.sleep(LOOK_S)
        return time.perf_counter() - began
    finally:
        await store.close()


def measure(directory: Path, lines: int, form: str, store: str | None = None) -> dict[str, Any]:
    """One run in `directory`; `store` is a URL, by default of an embedded one."""
    store = store or f"embedded:{directory / 'state' / 'store.db'}"
    source, out = directory / "in.log", directory / "out"
    write_lines(source, lines)
    copies = [copy_seconds(source, directory / "copy")]
    port = free_port()
    (directory / "hot").mkdir()
    flow = directory / "bench.flow"
    flow.write_text(
        f'web : tail("{directory}/hot/*.log") | agentE2ESink("127.0.0.1", {port}) ;\n'
        f'coll : collectorSource({port}, "127.0.0.1") | file("{out}", "web-", format="{form}") ;\n'
    )
    state, logs = str(directory / "state"), [directory / "collector.txt", directory / "agent.txt"]
    with (
        program(
            logs[0], "collector", str(flow), "--name", "c1", "--state-dir", state, "--store", store
        ) as collector,
        program(logs[1], "agent", str(flow), "--name", "a1", "--state-dir", state) as agent,
    ):
        agent.wait_for("collector_welcomes")
        idle = agent.cpu_s, collector.cpu_s
        appear = partial(source.rename, directory / "hot" / "in.log")
        seconds = stored_after_s(store, lines * LINE_BYTES, appear, agent, collector)
        result = {
            "events_s": lines / seconds,
            "mb_s": lines * LINE_BYTES / seconds / 1e6,
            "seconds": seconds,
            "agent_cpu_s": agent.cpu_s - idle[0],
            "collector_cpu_s": collector.cpu_s - idle[1],
            "agent_rss_mb": agent.rss_peak_mb,
            "collector_rss_mb": collector.rss_peak_mb,
        }
    counted = ledger(out, lines)
    shutil.rmtree(out)
    copies.append(copy_seconds(directory / "hot" / "in.log", directory / "copy"))
    result["copy_mb_s"] = lines * LINE_BYTES / statistics.mean(copies) / 1e6
    result |= {key: counted[key] for key in ("events", "lost", "doubled", "reordered")}
    gigabytes = lines * LINE_BYTES / 1e9
    result["cpu_s_per_gb"] = (result["agent_cpu_s"] + result["collector_cpu_s"]) / gigabytes
    return result | {"lines": lines, "format": form}


def table(result: dict[str, Any]) -> str:
    """For people."""
    rows = [
        ("events/s", f"{result['events_s']:,.0f}"),
        ("MB/s", f"{result['mb_s']:,.0f}"),
        ("copy with fsync, MB/s", f"{result['copy_mb_s']:,.0f}"),
        ("agent: CPU s, peak MB", f"{result['agent_cpu_s']:.2f}, {result['agent_rss_mb']:.0f}"),
        ("collector: CPU s, peak MB", f"{result['collector_cpu_s']:.2f}, {result['collector_rss_mb']:.0f}"),
        ("CPU s a GB, both", f"{result['cpu_s_per_gb']:.2f}"),
        ("lost, doubled, reordered", f"{result['lost']}, {result['doubled']}, {result['reordered']}"),
    ]
    return "\n".join(f"{name:<28}{value:>20}" for name, value in rows)


def main() -> int:
    """Run once, print, exit 1 when the ledger is not clean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=5_000_000, help="lines of 200 bytes (default 5,000,000)")
    parser.add_argument("--format", default="raw", help="the file sink's format (default raw)")
    parser.add_argument("--store", help="URL of the coordination store (default an embedded one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", type=Path, help="work in this new directory, and keep it")
    options = parser.parse_args()
    directory = options.keep or Path(tempfile.mkdtemp(prefix="qanat-bench-"))
    directory.mkdir(exist_ok=True)
    try:
        result = measure(directory, options.lines, options.format, options.store)
    finally:
        if options.keep is None:
            shutil.rmtree(directory)
    print(json.dumps(result) if options.json else table(result))
    return 0 if result["lost"] == result["doubled"] == result["reordered"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
