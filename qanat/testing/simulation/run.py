"""One schedule: trouble for some seconds of virtual time, then healing, then everything must come to its end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from qanat.testing.simulation.faults import Faults
from qanat.testing.simulation.kernel import Kernel, Violation
from qanat.testing.simulation.world import World

TROUBLE_S = (0.7, 2.4)  # how long faults are injected
WRITE_S = 0.25  # mean time between writes to a host's files
LAST_WRITES = 2  # after healing
PROGRESS_CHECK_S = 0.2  # virtual, like all times here
HEALED_S_MAX = 90.0  # by then it is over: late requests, keepalives and backoffs are some seconds each


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a schedule that kept every invariant was made of."""

    seed: int
    events: int
    batches: int
    simulated_s: float
    faults: Counter[str]


def run(seed: int, *, tell: Callable[[str], None] | None = None) -> Outcome:
    """Raises Violation; what the cores raise is one too."""
    kernel = Kernel(seed, tell=tell)
    try:
        return _run(kernel)
    except Violation:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is found
        kernel.fail(f"{type(error).__name__}: {error}")


def _run(kernel: Kernel) -> Outcome:
    world = World(kernel)
    faults = Faults(world)
    trouble_s = kernel.between(*TROUBLE_S)
    kernel.after(kernel.between(0.1, 0.8), faults.strike)
    _write_now_and_then(world)
    kernel.run_until(trouble_s)
    kernel.note("world", "=== heals ===")
    world.heal()
    _run_to_the_end(world, kernel)
    return Outcome(kernel.seed, kernel.events, world.ledger.batches, kernel.now_s, kernel.faults)


def _write_now_and_then(world: World) -> None:
    if world.healing:
        return
    for host in world.hosts.values():
        world.write(host)
    world.kernel.after(world.kernel.random.expovariate(1.0 / WRITE_S), _write_now_and_then, world)


def _run_to_the_end(world: World, kernel: Kernel) -> None:
    deadline_s = kernel.now_s + HEALED_S_MAX
    for number in itertools.count():
        # Even a process with nothing left to do must show whether it is fenced: give it something.
        for host in world.hosts.values():
            if number < LAST_WRITES or len(world.agents_of(host.name)) > 1:
                world.write_to_first(host)
        kernel.run_until(kernel.now_s + PROGRESS_CHECK_S)
        if number >= LAST_WRITES and not any(world.unfinished_business()):
            return
        if kernel.now_s > deadline_s:
            missing = "; ".join(world.unfinished_business())
            kernel.fail(f"no progress {HEALED_S_MAX:.0f} s after healing: {missing}")
