"""`qanat apply`, `qanat diff`: a flow file and what the cluster is configured to run."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from qanat.cli.admin.command import Session, admin_options
from qanat.cli.admin.plans import changes, print_plan, summary
from qanat.cli.admin.waiting import wait_for
from qanat.cli.duration import DurationParam
from qanat.control.operations import configuration as ops
from qanat.errors import ConfigError

EXIT_DIFFERENT = 1

FLOW_FILE = click.argument(
    "flow_file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
)
PRUNE = click.option(
    "--prune", is_flag=True, help="Delete the logical nodes of the file's flows that it does not name."
)
YES = click.option("--yes", "-y", is_flag=True, help="Don't ask.")
WAIT = click.option(
    "--wait", is_flag=True, help="Until the nodes that are attached run it, or say why they don't."
)
TIMEOUT = click.option(
    "--timeout",
    default="2m",
    type=DurationParam(),
    show_default=True,
    metavar="DURATION",
    help="How long to wait.",
)


def read_flow(flow_file: Path) -> tuple[str, str]:
    """(text, what faults call it). Raises ConfigError."""
    if str(flow_file) == "-":
        return sys.stdin.read(), "<stdin>"
    try:
        return flow_file.read_text(encoding="utf-8"), str(flow_file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"flow file {flow_file} can't be read: {error}") from error


def agreed(question: str, *, yes: bool) -> bool:
    """Whether to go on. Raises ConfigError when nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(
            "there is no terminal to ask on; say --yes to go on without asking, or --dry-run to only look"
        )
    return click.confirm(question, err=True)  # what is on stdout may be read by a program


def wait_for_plan(session: Session, plan: ops.Plan, timeout_s: float) -> int | None:
    """Until what it names runs where it should; gives an exit code, None when it does."""
    names = [each.logical for each in plan.changes if each.change != "delete" and each.runs_on_count]
    if not names:
        return None
    return wait_for(session, "applied", names, timeout_s, plan.revision, quiet=session.form == "json")


@click.command(name="apply")
@FLOW_FILE
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@YES
@PRUNE
@WAIT
@TIMEOUT
@admin_options
def apply(
    session: Session, flow_file: Path, dry_run: bool, yes: bool, prune: bool, wait: bool, timeout: float
) -> int | None:
    """Make the cluster run what FILE says.

    Shows what would change and where it would run, asks, and then changes all of it or nothing. Whoever changed the same in
    between is not overwritten. Logical nodes that FILE does not name stay as they are, unless --prune.

    \b
      qanat apply web.flow --dry-run
      qanat apply web.flow --yes --wait

    Exit codes: 0 done, or nothing to do; 1 refused, or not applied in time with --wait; 2 FILE is wrong; 3 no master answers.
    """
    text, name = read_flow(flow_file)
    plan = session.call("apply", ops.Apply(text=text, path=name, prune=prune, dry_run=True))
    to_do = bool(changes(plan)) or session.client.is_stale  # what it was compared with may be old
    if dry_run or not (to_do or wait):
        session.show(plan, lambda: print_plan(plan))
        return None
    if to_do:
        if session.form != "json":
            print_plan(plan)
        if not agreed("Apply?", yes=yes):
            click.echo("nothing was changed", err=True)
            return EXIT_DIFFERENT
        expected = {each.logical: each.version for each in plan.changes}
        plan = session.call("apply", ops.Apply(text=text, path=name, prune=prune, expected=expected))
    session.show(plan, lambda: click.echo(f"{summary(plan)} (revision {plan.revision})"))
    return wait_for_plan(session, plan, timeout) if wait else None


@click.command(name="diff")
@FLOW_FILE
@PRUNE
@admin_options
def diff(session: Session, flow_file: Path, prune: bool) -> int | None:
    """Show how FILE differs from what the cluster is configured to run.

    Exit codes: 0 the same; 1 different; 2 FILE is wrong; 3 no master answers.
    """
    text, name = read_flow(flow_file)
    plan = session.call("diff", ops.Diff(text=text, path=name, prune=prune))
    session.show(plan, lambda: print_plan(plan))
    return EXIT_DIFFERENT if changes(plan) else None
