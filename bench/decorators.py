"""How many events a second decorators pass on one core, with lines of 200 bytes in batches of 1 MiB as `tail` reads them.

    python bench/decorators.py [--seconds S] [--only NAME] [--json]

Every number includes the conversion of lines to columns, which a chain does once; but that of switch, which finds its key in a
column. Seconds are of processor time of the whole
process, so that what else runs on the machine takes nothing away but caches; Arrow is kept to one thread.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from qanat import columns, limits
from qanat.batch import Batch, lines_batch
from qanat.chain import build_chain
from qanat.component import Context
from qanat.flow.parser import parse
from qanat.flow.sinks import decorators, undecorated
from qanat.flow.switching import branches, spread

LINE_BYTES = 200
TIME_NS = 1_788_177_600_000_000_000

# The goals of the project; None: none was set.
FLOWS: dict[str, tuple[str, int | None]] = {
    "filter, regex": (r'filter("level=(WARN|ERROR)")', 1_000_000),
    "filter, equality": (r'filter(attribute="host", equals="web01")', None),
    "regex, three groups": (
        r'regexAll("level=(\\w+) user=(\\w+) path=(\\S+)", "level", "user", "path")',
        400_000,
    ),
    "regex, one group": (r'regex("level=(\\w+)", 1, "level")', None),
    "json, ten members": ("json", 300_000),
    "json, three of ten": ('json("level", "user", "ms")', None),
    "mask": ('mask(bodies=["card", "email", "ip"])', 400_000),
    "searchReplace": (r'searchReplace("user=(\\w+)", "user=...")', None),
    "logfmt, all": ("logfmt", None),
    "grok": ('grok("^%{TIMESTAMP_ISO8601:at} %{WORD:web} level=%{WORD:level}")', None),
    "timestamp": ("timestamp", None),
    "split": (r'split("\\s", 2, "level")', None),
    "format": ('format("%{host} %{body}")', None),
    "digest": ('digest("SHA-1", "sum")', None),
    "uuid": ("uuid", None),
    "probSampler": ("probSampler(0.1)", None),
    "value": ('value("service", "shop")', None),
}

EXTRACT = r'regex("level=(\\w+)", 1, "level")'
SWITCH = 'switch("%{level}") { "INFO" => a, "WARN" => b, "ERROR" => c, else => d }'
SWITCH_GOAL = 1_000_000
CONTEXT = Context("bench", "bench", "web01", Path("/nonexistent"))


def line(number: int) -> bytes:
    level = ("INFO", "INFO", "WARN", "DEBUG", "ERROR")[number % 5]
    where = (
        ("from 10.1.2.3", "to a@example.org", "card 4111-1111-1111-1111")[number % 3]
        if number % 20 == 0
        else "x"
    )
    text = (
        f"2026-08-31T12:00:{number % 60:02d}Z web{number % 7:02d} level={level} user=u{number % 997} "
        f'path=/a/b/{number} ms={number % 1000} {where} msg="'
    )
    return (text + "some words " * 20)[: LINE_BYTES - 2].encode() + b'"\n'


def member_line(number: int) -> bytes:
    members = {
        "time": f"2026-08-31T12:00:{number % 60:02d}Z",
        "level": "INFO",
        "host": f"web{number % 7:02d}",
        "user": f"u{number % 997}",
        "path": f"/a/b/{number}",
        "ms": number % 1000,
        "status": 200,
        "ok": True,
        "ratio": 0.25,
        "msg": "",
    }
    members["msg"] = "x" * (LINE_BYTES - 1 - len(json.dumps(members, separators=(",", ":"))))
    return json.dumps(members, separators=(",", ":")).encode() + b"\n"


def batch_of(make: Callable[[int], bytes]) -> Batch:
    number = limits.BATCH_BYTES_TARGET // LINE_BYTES
    payload = b"".join(map(make, range(number)))
    return lines_batch(
        "bench", 0, payload, timestamp_ns=TIME_NS, attributes={"host": "web01", "file": "/var/log/x"}
    )


def rate(do: Callable[[], object], events: int, seconds: float) -> float:
    """Of the fastest tenth of a second."""
    do()
    best, until = 0.0, time.process_time() + seconds
    while time.process_time() < until:
        began, rounds = time.process_time(), 0
        while (took := time.process_time() - began) < 0.1:
            do()
            rounds += 1
        best = max(best, rounds * events / took)
    return best


def measured(flow: str, batch: Batch, seconds: float) -> float:
    calls = tuple(decorators(parse(f"n : s | {flow} sink ;").nodes[0].sink))
    chain = build_chain(calls, CONTEXT)
    assert chain is not None
    chain.open()
    return rate(lambda: chain.apply(batch), batch.count, seconds)


def switched(batch: Batch, seconds: float) -> float:
    """All of a switch with four cases: the key of each event is in a column, as a decorator before it left it."""
    extract = build_chain(tuple(decorators(parse(f"n : s | {EXTRACT} sink ;").nodes[0].sink)), CONTEXT)
    assert extract is not None
    keyed = extract.apply(batch)
    before, inner = undecorated(spread(parse(f"n : s | {SWITCH} ;").nodes[0].sink))
    decide = build_chain(before, CONTEXT)
    cases = [build_chain(undecorated(branch.sink)[0], CONTEXT) for branch in branches(inner)]
    assert decide is not None

    def split() -> None:
        decided = decide.apply(keyed)
        for case in cases:
            assert case is not None
            case.apply(decided)

    return rate(split, batch.count, seconds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="for each")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    plain, members = batch_of(line), batch_of(member_line)
    results: dict[str, tuple[float, int | None]] = {}
    if options.only in "to columns":
        results["to columns"] = (rate(lambda: columns.to_columns(plain), plain.count, options.seconds), None)
    for name, (flow, goal) in FLOWS.items():
        if options.only in name:
            results[name] = (
                measured(flow, members if name.startswith("json") else plain, options.seconds),
                goal,
            )
    if options.only in "switch, four cases":
        results["switch, four cases"] = (switched(plain, options.seconds), SWITCH_GOAL)
    if options.json:
        print(json.dumps({name: round(found) for name, (found, _) in results.items()}))
        return 0
    for name, (found, goal) in results.items():
        aim = "" if goal is None else f"   goal {goal:>9,}  {'reached' if found >= goal else 'MISSED'}"
        print(f"{name:22} {found:12,.0f} events/s{aim}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
