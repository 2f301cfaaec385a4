"""Draws docs/state-machines.md from the code: which states the protocol's cores take after which events, as observed in
simulated schedules full of faults.

    python docs/state_machines.py            writes the page
"""

from __future__ import annotations

import collections
import logging
import pathlib
from collections.abc import Callable
from typing import Any

import structlog

from qanat.delivery.fan_out import BranchCore
from qanat.delivery.receiver import ReceiverCore
from qanat.delivery.receiver_messages import StepDone
from qanat.delivery.sender import SenderCore
from qanat.testing.simulation.run import run

PAGE = pathlib.Path(__file__).with_name("state-machines.md")
SEEDS = 700  # more find hardly a further transition

Transitions = dict[tuple[str, str], set[str]]

INTRO = f"""# State machines

Drawn by `python docs/state_machines.py` from what the cores did in {SEEDS} simulated schedules: an arrow for each change of state
that happened, with the events that caused it. What a state means is in the docstring of the core.
"""


def observed(
    core: type[Any], state: Callable[[Any], str], methods: tuple[str, ...]
) -> tuple[Transitions, Callable[[], None]]:
    """Records the changes of state around calls of `methods`; the second result ends that."""
    seen: Transitions = collections.defaultdict(set)
    originals = {name: getattr(core, name) for name in methods}

    def wrap(name: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any) -> Any:
            before = state(self)
            cause = event_name(self, args[0]) if name == "handle" else name
            result = originals[name](self, *args)
            if state(self) != before:
                seen[before, state(self)].add(cause)
            return result

        return call

    def restore() -> None:
        for name, original in originals.items():
            setattr(core, name, original)

    for name in methods:
        setattr(core, name, wrap(name))
    return seen, restore


def event_name(core: Any, event: Any) -> str:
    """The event; of a step that is done, which one, and how it failed."""
    if not isinstance(event, StepDone):
        return type(event).__name__
    running = core._running.get(event.number)
    step = "step" if running is None else type(running.step).__name__
    return f"{step} done" if event.error is None else f"{step} fails ({type(event.error).__name__})"


def diagram(title: str, seen: Transitions) -> str:
    """One machine in Mermaid."""
    lines = [f"## {title}", "", "```mermaid", "stateDiagram-v2"]
    for (before, after), causes in sorted(seen.items()):
        lines.append(f"    {before.upper()} --> {after.upper()}: {', '.join(sorted(causes))}")
    return "\n".join([*lines, "```", ""])


def page() -> str:
    """The whole page."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    machines = {
        "The sender (`qanat/delivery/sender.py`)": observed(
            SenderCore, lambda core: core.phase.value, ("handle",)
        ),
        "The receiver (`qanat/delivery/receiver.py`)": observed(
            ReceiverCore, lambda core: core.state.phase.value, ("handle",)
        ),
        "A branch of a fan-out (`qanat/delivery/fan_out.py`)": observed(
            BranchCore, lambda core: core.todo.value, ("opened", "published", "took", "failed", "recorded")
        ),
    }
    try:
        for seed in range(SEEDS):
            run(seed)
    finally:
        for _, restore in machines.values():
            restore()
    return "\n".join([INTRO, *(diagram(title, seen) for title, (seen, _) in machines.items())])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
