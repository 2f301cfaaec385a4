"""`qanat demo`: a whole cluster on this machine, with failures and a ledger."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from qanat.cli.main import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from qanat.cli.program import run_until_signal

if TYPE_CHECKING:
    from rich.console import Console

    from qanat.demo.cluster import Outcome
    from qanat.demo.ledger import Ledger
    from qanat.demo.logs import Found
    from qanat.demo.plan import Plan

# Long enough for three deaths with recovery in between, and for people to look; well below two minutes with all around.
SECONDS = 36.0


@click.command(name="demo")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Work in this directory, new or empty, instead of a new temporary one. It is kept either way.",
)
@click.option("--seconds", type=click.FloatRange(min=5, max=600), default=SECONDS, hidden=True)
def command(directory: Path | None, seconds: float) -> int:
    """Start a small cluster here, break it, and count what arrived.

    Two agents, two collectors and an embedded coordination store run as separate processes. The agents tail log files of
    this machine (which are only read) and two busy ones that the demo writes and rotates, 20,000 lines a second each.
    On the way a collector, an agent and the other collector are killed with SIGKILL and start again. A table shows
    rates and positions; in a pipe, a line a second does.

    At the end the stored events are compared with the files, and the directory with everything in it is kept. It takes
    about 45 seconds and 350 MB of disk.

    Exit codes: 0 nothing is lost, doubled or out of order; 1 something is; 2 the directory can't be used; 3 a program
    could not be started; 130 interrupted.
    """
    from rich.console import Console

    from qanat.demo import ledger, logs, plan

    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, emoji=False, width=120, color_system=None)
    with logs.found() as found:
        planned = plan.prepare(directory, [file.path for file in found.files])
        _introduce(console, planned, found)
        outcome = _run(planned, found, console, seconds)
        if outcome is None:
            console.print(
                f"\nAll programs are stopped. What was stored until then is in {planned.root}", soft_wrap=True
            )
            return EXIT_INTERRUPTED
        console.print("\ncomparing the files with what is stored ...\n")
        counted = ledger.settle(planned, found.files)
    ledger.show(counted, console)
    _conclude(console, planned, outcome, counted)
    return EXIT_OK if counted.clean and outcome.is_complete else EXIT_FAILED


def _run(plan: Plan, found: Found, console: Console, seconds: float) -> Outcome | None:
    """None when it was interrupted."""
    from qanat.demo.cluster import Cluster, Interrupted
    from qanat.demo.table import display

    outcomes: list[Outcome] = []

    async def main(stop: asyncio.Event) -> None:
        outcomes.append(await Cluster(plan, found.files, display(console), seconds).run(stop))

    try:
        run_until_signal(main)
    except Interrupted:
        return None
    return outcomes[0]


def _introduce(console: Console, plan: Plan, found: Found) -> None:
    say = _plain(console)
    say(f"A small Qanat cluster in {plan.root}:")
    say("  Agents a1 and a2 tail log files, collectors c1 and c2 store them. a1 prefers c1, a2 prefers c2.")
    say("  Tailed: two busy files that the demo writes, and logs of this machine (only read):")
    for file in found.files:
        say(f"    {file.path}  {file.complete:,} bytes")
    if not found.files:
        say("    none: there is no readable log file that is not empty")
    if found.left_out:
        say("  left out: " + ", ".join(f"{path} ({why})" for path, why in found.left_out.items()))
    say("")


def _conclude(console: Console, plan: Plan, outcome: Outcome, counted: Ledger) -> None:
    say = _plain(console)
    total = counted.total
    kills = "once" if outcome.kills == 1 else f"{outcome.kills} times"
    say("")
    if not outcome.is_complete:
        say(f"NOT CLEAN: not everything was stored in time; the programs' logs are in {plan.root / 'logs'}")
    elif not counted.clean:
        say("NOT CLEAN: see above; please report it, with the directory below.")
    else:
        say(
            f"Clean: {total.stored:,} events, each stored once and in order, though programs were killed {kills}."
        )
    say(
        "(Order is judged in what each collector stored; a stream that moved has parts in the files of both.)"
    )
    size = sum(path.stat().st_size for path in plan.stored.rglob("*") if path.is_file())
    say(
        f"{total.stored / outcome.seconds:,.0f} events/s over {outcome.seconds:.0f} s, {size / 1e6:,.0f} MB stored."
    )
    say("The demo writes at that pace; for what is possible run `python bench/throughput.py`.")
    say("")
    root = shlex.quote(str(plan.root))
    say(f"Everything is kept in {plan.root}:")
    say("  stored/busy, stored/logs   what the collectors stored")
    say("  app                        what the application wrote")
    say("  flows, logs                what each program ran, and what it said")
    say("Count again:")
    say(f"  {_own_name()} verify {root}/stored/busy \\")
    say("    --pattern '(?P<stream>web-\\d) seq=(?P<seq>\\d+)' --first 0")
    say("Remove it:")
    say(f"  rm -r {root}")


def _own_name() -> str:
    """How this command was called, so that what is printed can be pasted."""
    called = Path(sys.argv[0])
    return shlex.quote(str(called)) if called.name == "qanat" else "qanat"


def _plain(console: Console) -> Callable[[str], None]:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say
