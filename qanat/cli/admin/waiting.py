"""`qanat wait`: until nodes are where they should be."""

from __future__ import annotations

import time
from typing import Literal

import click

from qanat.cli import completion_names
from qanat.cli.admin.command import Session, admin_options
from qanat.cli.duration import DurationParam
from qanat.control.operations import cluster as ops
from qanat.errors import NotConnectedError

EXIT_PENDING = 1

# `--timeout 0s` is a look.
NOW_S = 0.001

NOBODY = "no node is attached: there was nothing to wait for"

Kind = Literal["applied", "active", "done"]


def wait_for(
    session: Session,
    kind: Kind,
    names: list[str],
    timeout_s: float,
    revision: int = 0,
    *,
    quiet: bool = False,
    shown: bool = False,
) -> int | None:
    """Gives an exit code; None when all is done. Progress goes to stderr, unless `quiet`; `shown`: the last reply to stdout, as
    JSON if that is asked for."""
    last: ops.Waiting | None = None
    until_s = time.monotonic() + timeout_s

    def left() -> ops.Wait | None:
        left_s = until_s - time.monotonic()
        if last is not None and left_s <= 0:
            return None
        return ops.Wait(kind=kind, names=names, timeout_s=max(left_s, NOW_S), revision=revision)

    for reply in session.client.follow("wait", left, lambda why: click.echo(why, err=True)):
        if last is None and reply.unknown:
            click.echo(f"nothing is called {', '.join(reply.unknown)} yet; waiting for it to come", err=True)
        if not quiet and (last is None or last.settled != reply.settled or last.total != reply.total):
            click.echo(f"{kind}: {reply.settled} of {reply.total} nodes", err=True)
        last = reply
    if last is None:
        raise NotConnectedError(f"master {session.client.master} gave no answer; ask again")
    if shown:
        session.show(last, lambda: None)
    if last.done:
        if not last.total:
            click.echo(NOBODY, err=True)
        return None
    click.echo(
        f"not {kind}, and will not be until more is configured:"
        if last.stuck
        else f"not {kind} within {timeout_s:g} s:",
        err=True,
    )
    for line in last.pending:
        click.echo(f"  {line}", err=True)
    return EXIT_PENDING


@click.command(name="wait")
@click.argument("kind", type=click.Choice(["applied", "active", "done"]))
@click.argument("names", metavar="[NODES]...", nargs=-1, shell_complete=completion_names.nodes)
@click.option(
    "--timeout",
    default="2m",
    type=DurationParam(),
    show_default=True,
    metavar="DURATION",
    help="How long to wait.",
)
@admin_options
def wait(session: Session, kind: Kind, names: tuple[str, ...], timeout: float) -> int | None:
    """Wait until nodes are applied, active or done.

    applied: they run exactly what they are configured to run, and wait for nothing. active: they do, and their state is
    ACTIVE. done: they are IDLE, their sources at their end. NODES are physical or logical; none: all that are attached.

    With --output json, how far it is in the end is one JSON object.

    Exit codes: 0 they are; 1 not in time, or never as it is configured: what is missing is said.
    """
    return wait_for(session, kind, list(names), max(timeout, NOW_S), shown=True)
