"""How long events wait when a collector dies: from its SIGKILL, under load, until the next of the chain has accepted a batch.

    python bench/failover.py [--runs N] [--json]

Two collectors, one agent with both in its chain, a log file that grows by 20 MB a second, E2E. The second collector's metrics
are read about every 5 ms. Every run ends with the ledger over all that was written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cluster import LINE_BYTES, PATTERN

from qanat.testing.cluster import Cluster, ledger, metric, stored_bytes

LINES_EACH = 1000
EVERY_S = 0.010
POLL_S = 0.005
LOAD_S = 0.5  # before the kill, and after the takeover


class Load:
    """Appends LINES_EACH lines of LINE_BYTES every EVERY_S until it is stopped."""

    def __init__(self, path: Path) -> None:
        self.lines = 0
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Append no more; `lines` is final."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            while not self._stop.wait(EVERY_S):
                last = self.lines + LINES_EACH
                lines = (b"seq=%010d " % number for number in range(self.lines, last))
                file.write(b"".join(line.ljust(LINE_BYTES - 1, b"x") + b"\n" for line in lines))
                self.lines = last


@contextlib.contextmanager
def running(directory: Path) -> Iterator[tuple[Cluster, Any, Any, Load]]:
    """The cluster under load, its first collector storing."""
    (directory / "in").mkdir()
    with Cluster(directory) as cluster:
        c1, c2 = (cluster.collector(name, "roll=1s", commit="200ms") for name in ("c1", "c2"))
        cluster.agent("a1", f'tail("{directory}/in/a.log")', c1, c2)
        cluster.start()
        c2.wait_for("sink_ready")
        with Load(directory / "in" / "a.log") as load:
            cluster.wait_until(lambda: c1.stored_events() > 0, "the first collector to store")
            time.sleep(LOAD_S)
            yield cluster, c1, c2, load


def until(condition: Callable[[], object], began: float) -> float:
    """Seconds since `began` at which it first held. Raises TimeoutError after a minute."""
    while not condition():
        if time.perf_counter() > began + 60:
            raise TimeoutError("the second collector got nothing for a minute")
        time.sleep(POLL_S)
    return time.perf_counter() - began


def measure(directory: Path) -> dict[str, Any]:
    """One failover."""
    with running(directory) as (cluster, c1, c2, load):
        began = time.perf_counter()
        c1.kill()
        accepted_s = until(lambda: metric(c2.metrics_port, "qanat_received_batches_total"), began)
        committed_s = until(lambda: metric(c2.metrics_port, "qanat_commits_total"), began)
        time.sleep(LOAD_S)
        load.stop()
        c1.start()
        cluster.wait_until(
            lambda: stored_bytes(cluster.out) >= load.lines * LINE_BYTES, "everything to be stored"
        )
        cluster.stop()
        report = ledger(cluster.out, PATTERN, 0, load.lines - 1)
    return {
        "failover_s": accepted_s,
        "commit_s": committed_s,
        "lost": report.lost,
        "doubled": report.doubled,
        "reordered": report.reordered,
    }


def main() -> int:
    """All runs, printed; exit code 1 when the ledger of one is not clean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="failovers to measure (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    runs = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="qanat-failover-") as directory:
            runs.append(measure(Path(directory)))
    ledgers = {name: sum(run[name] for run in runs) for name in ("lost", "doubled", "reordered")}
    medians = {name: statistics.median(run[name] for run in runs) for name in ("failover_s", "commit_s")}
    if options.json:
        print(json.dumps({**medians, **ledgers, "runs": runs}))
    else:
        for run in runs:
            print(f"accepted after {run['failover_s']:.3f} s, committed after {run['commit_s']:.3f} s")
        print(f"median: {medians['failover_s']:.3f} s and {medians['commit_s']:.3f} s; {ledgers}")
    return int(any(ledgers.values()))


if __name__ == "__main__":
    sys.exit(main())
