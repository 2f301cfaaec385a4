"""How fast syslog arrives in a channel: `python bench/sources.py`.

Senders are processes of their own that write prepared messages of 200 bytes as fast as they are taken (TCP, four connections),
or at a rate (UDP, loopback). The source feeds a `fileChannel`, synced, as in an agent; time runs until the last event is safe in
it. `events_cpu_s` is for a second of the agent's CPU, which says more on a machine with other work.
For UDP, what the kernel dropped is printed beside: at a rate that a machine can keep it is 0.
`spool` and `joined` are `bench/file_sources.py`; what comes in requests, `--only avro` and so on, is `bench/request_sources.py`.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import resource
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import file_sources
import request_sources
import structlog

from agent.losses import DATAGRAMS_LOST
from agent.pushed import PushedFeed
from agent.sources.syslog_tcp import SyslogTcp, SyslogTcpConfig
from agent.sources.syslog_udp import SyslogUdp, SyslogUdpConfig
from qanat import limits
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.component import Context, Cursor
from qanat.metrics import Metrics

EVENT_BYTES = 200
CONNECTIONS = 4
KINDS = ("tcp", "counted", "udp", "spool", "joined", *request_sources.KINDS)
DATAGRAM_BURST = 50  # sent together, as a sender's timer can't be finer than some 0.3 ms


def message(number: int) -> bytes:
    """As rsyslog sends it."""
    head = b"<13>1 2026-11-22T13:04:05.123456+00:00 host-12.example.org app 4711 - - n=%012d " % number
    return head + b"x" * (EVENT_BYTES - 1 - len(head))


def send_tcp(port: int, events: int, counted: bool) -> None:
    """One connection."""
    lines = [message(number) for number in range(1000)]
    block = b"".join(b"%d %b" % (len(each), each) if counted else each + b"\n" for each in lines)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(events // len(lines)):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def send_udp(port: int, events: int, rate: float) -> None:
    """At a rate, in bursts."""
    data = message(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.connect(("127.0.0.1", port))
        began_s = time.perf_counter()
        for sent in range(0, events, DATAGRAM_BURST):
            for _ in range(DATAGRAM_BURST):
                sending.send(data)
            ahead_s = began_s + (sent + DATAGRAM_BURST) / rate - time.perf_counter()
            if ahead_s > 0:
                time.sleep(ahead_s)


class Counts:
    """What a component counts."""

    def __init__(self) -> None:
        self.of: dict[str, int] = {}

    def count(self, name: str, number: int) -> None:
        """See Context.count."""
        self.of[name] = self.of.get(name, 0) + number


def measure(kind: str, directory: Path, events: int, rate: float) -> dict[str, Any]:
    """`kind`: tcp, counted or udp."""
    counts = Counts()
    context = Context("p", "bench", "h", directory, count=counts.count)
    source: SyslogUdp | SyslogTcp
    if kind == "udp":
        source = SyslogUdp(SyslogUdpConfig(port=0, host="127.0.0.1"), context)
    else:
        source = SyslogTcp(SyslogTcpConfig(port=0, host="127.0.0.1"), context)
    channel = FileChannel(FileChannelConfig(capacity=8 * limits.GIB), context)
    feed = PushedFeed(source, channel, [Cursor("bench")], context, Metrics().agent("bench"))
    feed.open()
    running = threading.Thread(target=feed.run)
    spawn = multiprocessing.get_context("spawn")
    if kind == "udp":
        senders = [spawn.Process(target=send_udp, args=(source.port, events, rate))]
    else:
        share = events // CONNECTIONS
        senders = [
            spawn.Process(target=send_tcp, args=(source.port, share, kind == "counted"))
            for _ in range(CONNECTIONS)
        ]
    running.start()
    for each in senders:
        each.start()
    busy_s = time.process_time()
    seconds = wait(channel, events, counts, senders)
    busy_s = time.process_time() - busy_s
    feed.stop()
    running.join()
    stored = channel.log.number
    feed.close()
    for each in senders:
        each.join()
    return {
        "kind": kind,
        "events": stored,
        "events_s": round(stored / seconds),
        "events_cpu_s": round(stored / busy_s),
        "lost": counts.of.get(DATAGRAMS_LOST, 0),
        "unparsed": counts.of.get("events_unparsed", 0),
        "rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def wait(channel: FileChannel, events: int, counts: Counts, senders: list[Any]) -> float:
    """From the first event in the channel to the last one that is durable."""
    while not channel.log.durable:
        time.sleep(0.001)
    began_s, before = time.perf_counter(), channel.log.durable
    last_s = began_s
    while channel.log.durable + counts.of.get(DATAGRAMS_LOST, 0) < events:
        if channel.log.durable != before:
            before, last_s = channel.log.durable, time.perf_counter()
        elif time.perf_counter() - last_s > 3.0 and not any(each.is_alive() for each in senders):
            return last_s - began_s
        time.sleep(0.001)
    return time.perf_counter() - began_s


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--rate", type=float, default=150_000, help="datagrams a second")
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--directory", type=Path, help="on the disk to measure (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    for kind in [options.only] if options.only else KINDS:
        directory = Path(tempfile.mkdtemp(prefix="qanat-sources-", dir=options.directory))
        try:
            results = measured(kind, directory, options.events, options.rate)
        finally:
            shutil.rmtree(directory)
        for result in results:
            shown = [f"{name} {value:,}" if name != "kind" else value for name, value in result.items()]
            print(json.dumps(result) if options.json else "  ".join(shown))
    return 0


def measured(kind: str, directory: Path, events: int, rate: float) -> list[dict[str, Any]]:
    """The rows of a kind."""
    if kind in request_sources.KINDS:
        return [request_sources.measured(kind, per_request) for per_request in request_sources.PER_REQUEST]
    read = {"spool": file_sources.spool, "joined": file_sources.joined}.get(kind)
    return [read(directory, events) if read is not None else measure(kind, directory, events, rate)]


if __name__ == "__main__":
    sys.exit(main())
