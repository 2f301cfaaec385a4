"""What the benchmarks share: generating input, running the programs as processes, reading their CPU time and memory."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from qanat.coordination.store import Store
from qanat.delivery.documents import commit_path, decode_record
from qanat.testing.daemon import Daemon, ended_together

LINE_BYTES = 200
PATTERN = r"seq=(\d+)"


def write_lines(path: Path, lines: int) -> None:
    """`lines` numbered lines of exactly LINE_BYTES bytes, then fsync, so that the run does not pay for writing them."""
    filler = (b"GET /index.html 200 qanat benchmark line " * 5)[: LINE_BYTES - 16]
    block = 20_000
    with path.open("wb") as file:
        for first in range(0, lines, block):
            last = min(first + block, lines)
            file.write(b"".join(b"seq=%010d %b\n" % (number, filler) for number in range(first, last)))
        file.flush()
        os.fsync(file.fileno())
    size = path.stat().st_size
    if size != lines * LINE_BYTES:
        raise AssertionError(f"{path} has {size} bytes instead of {lines * LINE_BYTES}")


def copy_seconds(source: Path, target: Path) -> float:
    """What copying the file with fsync takes: the limit. The copy is removed."""
    began = time.perf_counter()
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(1 << 20):
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def program(log: Path, *arguments: str) -> Iterator[Daemon]:
    """`qanat ARGUMENTS` as a process of its own, its log in `log`; stopped at the end."""
    running = Daemon(arguments[0], arguments, log)
    with ended_together([running]):
        running.start()
        yield running
        running.stop()


async def committed_bytes(store: Store, sink: str) -> int:
    """How far the sink's commit record says that its streams are stored; of tailed files positions are bytes."""
    path = commit_path(sink)
    node = await store.get(path)
    record = None if node is None else decode_record(node.value, path)
    return 0 if record is None else sum(sum(each.values()) for each in record.positions.values())


def ledger(directory: Path, lines: int) -> dict[str, int]:
    """`qanat verify` over what is stored: events, lost, doubled, reordered."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "qanat",
            "verify",
            str(directory),
            "--pattern",
            PATTERN,
            "--json",
            "--first",
            "0",
            "--last",
            str(lines - 1),
        ],
        capture_output=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"qanat verify failed: {done.stderr.decode()}")
    return dict(json.loads(done.stdout))
