"""What committing over ZooKeeper costs: the throughput of bench/throughput.py on the embedded store and on an ensemble of three
servers of this machine, in turn.

    python bench/stores.py [--lines N] [--runs N] [--json]

The servers come from Debian's `zookeeper` package (ZOOKEEPER_JAR may point elsewhere), and share the cores and the disk with
the programs; `ratio` is the median over the pairs of runs of ZooKeeper's events/s to the embedded store's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from throughput import measure

from qanat.testing.zookeeper import Ensemble


def pairs(directory: Path, lines: int, runs: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Embedded and ZooKeeper, `runs` times one after the other; who is first changes."""
    found = []
    with Ensemble(directory / "servers") as ensemble:
        for run in range(runs):
            urls = {"embedded": None, "zookeeper": ensemble.url(f"/run{run}", options="session_timeout=10s")}
            results = {}
            for name in sorted(urls, reverse=bool(run % 2)):
                place = directory / name
                place.mkdir()
                results[name] = measure(place, lines, "raw", urls[name])
                shutil.rmtree(place)
            found.append((results["embedded"], results["zookeeper"]))
    return found


def main() -> int:
    """Run, print, exit 1 when a ledger is not clean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=5_000_000, help="lines of 200 bytes (default 5,000,000)")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs (default 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="qanat-bench-"))
    try:
        found = pairs(directory, options.lines, options.runs)
    finally:
        shutil.rmtree(directory)
    result = {
        "embedded_events_s": statistics.median(embedded["events_s"] for embedded, _ in found),
        "zookeeper_events_s": statistics.median(zookeeper["events_s"] for _, zookeeper in found),
        "ratio": statistics.median(
            zookeeper["events_s"] / embedded["events_s"] for embedded, zookeeper in found
        ),
        "ratios": [zookeeper["events_s"] / embedded["events_s"] for embedded, zookeeper in found],
    }
    for key in ("lost", "doubled", "reordered"):
        result[key] = sum(each[key] for pair in found for each in pair)
    if options.json:
        print(json.dumps(result))
    else:
        print(f"embedded store   {result['embedded_events_s']:>12,.0f} events/s")
        print(f"ZooKeeper        {result['zookeeper_events_s']:>12,.0f} events/s")
        print(
            f"ratio            {result['ratio']:>12.2f}   ({', '.join(f'{each:.2f}' for each in result['ratios'])})"
        )
        print(f"lost, doubled, reordered: {result['lost']}, {result['doubled']}, {result['reordered']}")
    return 1 if result["lost"] or result["doubled"] or result["reordered"] else 0


if __name__ == "__main__":
    sys.exit(main())
