"""Torture the delivery protocol: `python -m qanat.testing.simulator --seeds 10000 [--first K] [--json] [--trace SEED]`.

Runs the real sender and receiver cores in a simulated cluster (`qanat.testing.simulation`), one schedule for each seed.
Every schedule is a function of its seed, so a violation is replayed with `--trace SEED`. Exits 1 when there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field

import structlog

from qanat.testing.simulation.kernel import Violation
from qanat.testing.simulation.run import Outcome, run

VIOLATIONS_TOLD_MAX = 3  # with their stories; the others by seed

# Between two collections of garbage. A schedule leaves some 600 objects that hang together, 0.1 MB.
SCHEDULES_OF_GARBAGE = 20


@dataclass(slots=True)
class Summary:
    """What became of all schedules."""

    schedules: int = 0
    events: int = 0
    batches: int = 0
    simulated_s: float = 0.0
    elapsed_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    @property
    def schedules_s(self) -> float:
        """Schedules a second of real time."""
        return self.schedules / self.elapsed_s if self.elapsed_s > 0.0 else 0.0

    def add(self, outcome: Outcome) -> None:
        """One more that kept every invariant."""
        self.events += outcome.events
        self.batches += outcome.batches
        self.simulated_s += outcome.simulated_s
        self.faults.update(outcome.faults)


def simulate(first: int, seeds: int, *, violations_max: int | None = None) -> Summary:
    """Run the schedules `[first, first + seeds)`; stop early after so many violations."""
    summary = Summary()
    began_s = time.perf_counter()
    with _garbage_left_for_later():
        for seed in range(first, first + seeds):
            if summary.schedules % SCHEDULES_OF_GARBAGE == 0:
                gc.collect()
            summary.schedules += 1
            try:
                summary.add(run(seed))
            except Violation as violation:
                summary.violations.append(violation)
                if len(summary.violations) == violations_max:
                    break
    summary.elapsed_s = time.perf_counter() - began_s
    return summary


@contextlib.contextmanager
def _garbage_left_for_later() -> Generator[None]:
    """What a schedule makes it keeps, or forgets one by one: to look for garbage while it runs is a seventh of its time, and
    finds nothing. What was there before, modules above all, is not looked at either."""
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def as_text(summary: Summary) -> str:
    """For people."""
    lines = [
        f"{summary.schedules:,} schedules, {summary.schedules_s:.0f} a second",
        f"{summary.events:,} events, {summary.batches:,} batches stored, {summary.simulated_s:,.0f} s of virtual time",
        f"{sum(summary.faults.values()):,} faults",
        *(f"  {count:>12,}  {kind}" for kind, count in summary.faults.most_common()),
        f"{len(summary.violations)} violations",
    ]
    for number, violation in enumerate(summary.violations):
        if number < VIOLATIONS_TOLD_MAX:
            lines += ["", f"VIOLATION {violation}", *(f"  {line}" for line in violation.story)]
        else:
            lines.append(f"VIOLATION {violation}")
        lines.append(f"  replay: python -m qanat.testing.simulator --trace {violation.seed}")
    return "\n".join(lines)


def as_json(summary: Summary) -> str:
    """For programs."""
    return json.dumps(
        {
            "schedules": summary.schedules,
            "schedules_s": round(summary.schedules_s, 1),
            "events": summary.events,
            "batches": summary.batches,
            "simulated_s": round(summary.simulated_s, 1),
            "faults": dict(sorted(summary.faults.items())),
            "violations": [{"seed": each.seed, "what": each.what} for each in summary.violations],
        }
    )


def _trace(seed: int) -> int:
    try:
        outcome = run(seed, tell=print)
    except Violation as violation:
        print(f"VIOLATION {violation}")
        return 1
    print(f"seed {seed}: no violation, {outcome.events} events, {outcome.batches} batches stored")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(prog="python -m qanat.testing.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules (default 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument(
        "--trace", type=int, metavar="SEED", help="run this schedule alone and tell every step"
    )
    options = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if options.trace is not None:
        return _trace(options.trace)
    summary = simulate(options.first, options.seeds)
    print(as_json(summary) if options.json else as_text(summary))
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
