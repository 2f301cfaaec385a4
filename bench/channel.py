"""Events a second through `fileChannel`: one thread puts, another reads and acknowledges, group commit at 10 ms.

    python bench/channel.py [--lines N] [--directory DIR] [--fsync commit] [--json]

Every event is written, synced and read back; the clock stops when the last one was read, and so was durable. In the same run,
before and after, the same bytes are written sequentially to the same disk with one fdatasync at the end: the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from qanat import limits
from qanat.batch import Batch, lines_batch
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.component import Context, Cursor, Source

LINE_BYTES = 200


def block(batch_bytes: int) -> bytes:
    """As many lines of 200 bytes as fit."""
    return b"".join(b"%0*d\n" % (LINE_BYTES - 1, each) for each in range(batch_bytes // LINE_BYTES))


def disk_seconds(path: Path, payload: bytes, count: int) -> float:
    """Plain writes of the same bytes, and one fdatasync."""
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(payload)
        os.fdatasync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def batches(payload: bytes, count: int) -> Any:
    """Consecutive batches of one file."""
    for number in range(count):
        yield lines_batch(
            "/var/log/x", number * len(payload), payload, timestamp_ns=number, attributes={"host": "h"}
        )


def read(source: Source, total: int, faults: list[str]) -> None:
    """As a delivery does, with an ack for each batch."""
    source.open()
    source.recover({})
    (found,) = source.poll(0.0)
    source.seek(found.stream, 0)
    number = 0
    while number < total:
        batch: Batch | None = source.read(limits.BATCH_BYTES_TARGET)
        if batch is None:
            source.poll(1.0)
            continue
        if batch.start != number or batch.count != batch.end - batch.start:
            faults.append(f"expected {number}, got [{batch.start}, {batch.end}) with {batch.count}")
        number = batch.end
        source.acknowledge({batch.stream: number})
    source.close()


def channel_seconds(directory: Path, payload: bytes, count: int, fsync: str) -> float:
    """Through the channel, to the last event read."""
    config = FileChannelConfig(capacity=limits.GIB, fsync=fsync)  # type: ignore[arg-type]
    channel = FileChannel(config, Context("p", "bench", "h", directory))
    channel.open([Cursor("a")])
    faults: list[str] = []
    events = payload.count(b"\n")
    reader = threading.Thread(target=read, args=[channel.reader("a"), count * events, faults])
    began = time.perf_counter()
    reader.start()
    for batch in batches(payload, count):
        while not channel.put(batch):
            channel.wait_for_room(1.0)
        channel.accepted()
    reader.join()
    seconds = time.perf_counter() - began
    channel.close()
    if faults:
        raise RuntimeError(faults[0])
    return seconds


def measure(directory: Path, lines: int, batch_bytes: int, fsync: str) -> dict[str, Any]:
    """One run in `directory`."""
    payload = block(batch_bytes)
    count = max(1, lines * LINE_BYTES // len(payload))
    total = count * len(payload)
    plain = [disk_seconds(directory / "plain", payload, count)]
    seconds = channel_seconds(directory, payload, count, fsync)
    plain.append(disk_seconds(directory / "plain", payload, count))
    mb_s, disk_mb_s = total / seconds / 1e6, total / statistics.mean(plain) / 1e6
    return {
        "mb_s": mb_s,
        "disk_mb_s": disk_mb_s,
        "ratio": mb_s / disk_mb_s,
        "events_s": total / LINE_BYTES / seconds,
        "seconds": seconds,
        "lines": total // LINE_BYTES,
        "batch_bytes": len(payload),
        "fsync": fsync,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def table(result: dict[str, Any]) -> str:
    """For people."""
    rows = [
        ("MB/s", f"{result['mb_s']:,.0f}"),
        ("events/s", f"{result['events_s']:,.0f}"),
        ("plain sequential, MB/s", f"{result['disk_mb_s']:,.0f}"),
        ("share of it", f"{result['ratio']:.2f}"),
        ("peak MB", f"{result['rss_mb']:.0f}"),
    ]
    return "\n".join(f"{name:<28}{value:>20}" for name, value in rows)


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=int, default=5_000_000, help="lines of 200 bytes (default 5,000,000)")
    parser.add_argument(
        "--batch-bytes", type=int, default=limits.BATCH_BYTES_TARGET, help="payload of a batch"
    )
    parser.add_argument("--fsync", default="commit", choices=["commit", "always", "never"])
    parser.add_argument("--directory", type=Path, help="on the disk to measure (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="qanat-channel-", dir=options.directory))
    try:
        result = measure(directory, options.lines, options.batch_bytes, options.fsync)
    finally:
        shutil.rmtree(directory)
    print(json.dumps(result) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
