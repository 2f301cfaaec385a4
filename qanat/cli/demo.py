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

    from qanat.demo.course import Outcome
    from qanat.demo.ledger import Ledger
    from qanat.demo.logs import Found
    from qanat.demo.plan import Plan
    from qanat.testing.zookeeper import Ensemble

# Long enough for three deaths and a change with recovery in between, and for people to look; a minute with all around.
SECONDS = 40.0
MASTERS, MASTERS_ZOOKEEPER = 2, 3


@click.command(name="demo")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Work in this directory, new or empty, instead of a new temporary one. It is kept either way.",
)
@click.option(
    "--zookeeper",
    is_flag=True,
    help="Three ZooKeeper servers and three masters, instead of two masters over an embedded store. Needs java, and Debian's "
    "package zookeeper or ZOOKEEPER_JAR.",
)
@click.option("--seconds", type=click.FloatRange(min=5, max=600), default=SECONDS, hidden=True)
def command(directory: Path | None, zookeeper: bool, seconds: float) -> int:
    """Start a small cluster here, configure it, change it, break it, and count what arrived.

    Two masters, two agents and two collectors run as separate processes, and are told what to run by `qanat apply`. The
    agents tail log files of this machine (which are only read) and two busy ones that the demo writes and rotates, 20,000
    lines a second each. On the way a collector is added, the configuration is changed in mid-stream, and the leading master, a
    collector and an agent are killed with SIGKILL and start again. A table shows rates and positions; in a pipe, a line
    a second does.

    At the end the stored events are compared with the files, and the directory with everything in it is kept. It takes
    about a minute and 400 MB of disk.

    Exit codes: 0 nothing is lost, doubled or out of order; 1 something is, or a command on the way failed; 2 the directory
    can't be used, or there is no ZooKeeper; 3 a program could not be started; 130 interrupted.
    """
    from rich.console import Console

    from qanat.demo import ledger, logs, plan

    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, emoji=False, width=120, color_system=None)
    root = plan.directory(directory)
    ensemble = _ensemble(root) if zookeeper else None
    masters, url = (MASTERS_ZOOKEEPER, ensemble.url("/demo")) if ensemble else (MASTERS, "")
    with logs.found() as found:
        planned = plan.prepare(root, [file.path for file in found.files], masters, url)
        _introduce(console, planned, found)
        outcome = _run(planned, found, console, seconds, ensemble)
        if outcome is None:
            console.print(
                f"\nAll programs are stopped. What was stored until then is in {planned.root}", soft_wrap=True
            )
            return EXIT_INTERRUPTED
        console.print("\ncomparing the files with what is stored ...\n")
        counted = ledger.settle(planned, found.files)
    ledger.show(counted, console)
    _conclude(console, planned, outcome, counted)
    return EXIT_OK if counted.clean and outcome.is_complete and not outcome.faults else EXIT_FAILED


def _ensemble(root: Path) -> Ensemble:
    from qanat.demo.ensemble import make

    return make(root / "zookeeper")


def _run(
    plan: Plan, found: Found, console: Console, seconds: float, ensemble: Ensemble | None
) -> Outcome | None:
    """None when it was interrupted."""
    from qanat.demo.cluster import Interrupted
    from qanat.demo.course import Course
    from qanat.demo.table import display

    outcomes: list[Outcome] = []

    async def main(stop: asyncio.Event) -> None:
        outcomes.append(await Course(plan, found.files, display(console), seconds, ensemble).run(stop))

    try:
        run_until_signal(main)
    except Interrupted:
        return None
    return outcomes[0]


def _introduce(console: Console, plan: Plan, found: Found) -> None:
    say = _plain(console)
    say(f"A small Qanat cluster in {plan.root}:")
    store = "three ZooKeeper servers" if plan.store_url.startswith("zookeeper") else "an embedded store"
    say(
        f"  Masters {', '.join(plan.masters)} over {store}; agents a1 and a2 tail log files, collectors c1 and c2 store them."
    )
    say(
        f"  Ask them from another terminal:  export QANAT_MASTER={plan.master_addresses}; {_own_name()} status"
    )
    say("  What they are told to run: collectors.flow, agents.flow, and later changed.flow, all in there")
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
    elif outcome.faults:
        say("The ledger is clean, but something else went wrong:")
        for fault in outcome.faults:
            say(f"  {fault}")
    else:
        say(
            f"Clean: {total.stored:,} events, each stored once and in order, though programs were killed {kills} and what "
            "they run was changed."
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
    say("  *.flow                     what masters were told; logs, what each program said")
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
