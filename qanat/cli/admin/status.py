"""`qanat status`, `nodes`, `masters`, `refresh`, `top`: what does run."""

from __future__ import annotations

import contextlib
import shutil
import sys

import click
import msgspec

from qanat.cli import completion_names
from qanat.cli.admin.command import Session, admin_options
from qanat.cli.admin.plans import print_notes
from qanat.cli.admin.tables import table_lines
from qanat.cli.duration import DurationParam
from qanat.control.operations import cluster as ops

EXIT_UNSETTLED = 1

# Collectors named in a line: a fan-out has two as a rule, and `--output json` has all of them.
SHOWN_MAX = 2

NOBODY = "no agent or collector has attached yet; start them with --master, or look whether these are the right masters"

NAMES = click.argument("names", metavar="[NODES]...", nargs=-1, shell_complete=completion_names.nodes)
HEADER = ("LOGICAL", "PHYSICAL", "STATE", "PROGRESS", "EVENTS", "EVENTS/S", "LAG", "TO", "WHY")


@click.command(name="status")
@NAMES
@click.option("--unsettled", is_flag=True, help="Only what does not run as it should.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when something does not run as it should.")
@admin_options
def status(session: Session, names: tuple[str, ...], unsettled: bool, exit_code: bool) -> int | None:
    """Show what runs on every node: state, progress, rates, and what is wrong.

    NODES are physical or logical nodes, or flows; none: all. STATE is the node's own (ACTIVE, OPENING, ERROR, NO_PROGRESS, ...).
    PROGRESS compares what runs with what should: applied, applying, waiting, failed, or unknown when no master hears of it.
    LAG is what a source has and no collector has acknowledged, or what a collector has received and not stored; and since when.
    TO is the collector that an agent delivers to now, or for how long there has been none.
    """
    reply = session.call("status", ops.Status(names=list(names), unsettled=unsettled))
    session.show(reply, lambda: _print(session, reply, unsettled=unsettled))
    return EXIT_UNSETTLED if exit_code and not _is_well(reply) else None


def _print(session: Session, reply: ops.StatusReply, *, unsettled: bool) -> None:
    rows = [_row(physical, each) for physical in reply.nodes for each in physical.logical]
    rows += [
        (("-", each.name, each.state, "-", "", "", "", "", "")) for each in reply.nodes if not each.logical
    ]
    nothing = "everything runs as it should" if unsettled else NOBODY
    session.rows(HEADER, sorted(rows), nothing)
    if reply.nodes and not any(each.logical for each in reply.nodes) and not unsettled:
        click.echo(
            "nothing is configured to run there; `qanat apply FILE` does that", err=session.form == "text"
        )
    print_notes(reply.notes, err=session.form == "text")


def _row(physical: ops.PhysicalRow, each: ops.LogicalRow) -> tuple[str, ...]:
    return (
        each.logical,
        physical.name,
        each.state,
        each.progress,
        *(("", "", "") if each.state == "LOST" else (str(each.events), f"{each.events_s:.0f}", _lag(each))),
        _to(each),
        each.why,
    )


def _to(each: ops.LogicalRow) -> str:
    """Two names of collectors, or their addresses; the rest is a number."""
    shown = [
        to.collector or to.address or f"none for {_age(to.for_s)}"
        for to in sorted(each.delivers_to, key=lambda to: to.address)
    ]
    more = f" +{len(shown) - SHOWN_MAX}" if len(shown) > SHOWN_MAX else ""
    return ", ".join(shown[:SHOWN_MAX]) + more


def _is_well(reply: ops.StatusReply) -> bool:
    """Everything runs, and gets on."""
    logical = [each for physical in reply.nodes for each in physical.logical]
    return all(each.progress == "applied" and each.state in ("ACTIVE", "IDLE") for each in logical)


def _lag(each: ops.LogicalRow) -> str:
    since_s = max(each.lag_s, each.unacked_age_s)
    return _size(each.lag_bytes) + (f" {_age(since_s)}" if since_s >= 1 else "")


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


@click.command(name="nodes")
@NAMES
@admin_options
def nodes(session: Session, names: tuple[str, ...]) -> None:
    """List the physical nodes: every agent and collector that ever registered, and was not purged."""
    reply = session.call("nodes", ops.Nodes(names=list(names)))
    header = ("PHYSICAL", "ROLE", "STATE", "HOST", "MASTER", "APPLIED", "HEARD", "LOGICAL NODES", "LABELS")
    session.show(reply, lambda: session.rows(header, [_physical(each) for each in reply.nodes], NOBODY))


def _physical(each: ops.PhysicalRow) -> tuple[str, ...]:
    attached = each.state == "attached"
    return (
        each.name,
        each.role,
        each.state,
        each.host,
        each.master,
        ("yes" if each.applied else "no") if attached else "",
        f"{each.heard_s:.0f} s ago" if attached else "",
        ", ".join(f"{count} {state}" for state, count in sorted(each.states.items())),
        ",".join(f"{name}={value}" for name, value in sorted(each.labels.items())),
    )


@click.command(name="masters")
@admin_options
def masters(session: Session) -> None:
    """List the masters, how many nodes are attached to each, and which one leads."""
    reply = session.call("masters", ops.Masters())
    header = ("MASTER", "ADDRESS", "HTTP", "LEADS", "REVISION", "NODES", "APPLIED", "TROUBLE")
    rows = [
        (
            each.id,
            each.rpc,
            each.http,
            "yes" if each.leads else "",
            str(each.revision),
            str(each.attached),
            str(each.attached - each.unsettled),
            "" if each.reachable else "does not answer",
        )
        for each in reply.masters
    ]
    session.show(reply, lambda: session.rows(header, rows))


@click.command(name="refresh")
@NAMES
@admin_options
def refresh(session: Session, names: tuple[str, ...]) -> None:
    """Build logical nodes anew though their configuration did not change: of these nodes, or of all."""
    reply = session.call("refresh", ops.Refresh(names=list(names)))
    session.show(reply, lambda: click.echo(f"told: {', '.join(reply.nodes) or 'nobody'}"))


@click.command(name="top")
@NAMES
@click.option(
    "--interval",
    default="2s",
    type=DurationParam(),
    show_default=True,
    metavar="DURATION",
    help="How often.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@admin_options
def top(session: Session, names: tuple[str, ...], interval: float, count: int | None) -> None:
    """Show the rates of logical nodes, again and again, until Ctrl-C."""
    request = ops.Top(names=list(names), interval_s=max(0.5, interval))
    following = session.client.follow("top", lambda: request, lambda why: click.echo(why, err=True))
    with contextlib.closing(following) as replies:
        for number, reply in enumerate(replies, 1):
            if session.form == "json":
                click.echo(msgspec.json.encode(reply))
            else:
                _print_top(session, reply)
            sys.stdout.flush()
            if number == count:
                return


def _print_top(session: Session, reply: ops.TopReply) -> None:
    rows = sorted(
        ((physical, each) for physical in reply.nodes for each in physical.logical),
        key=lambda pair: (-pair[1].events_s, pair[1].logical, pair[0].name),
    )
    shown = [_row(physical, each) for physical, each in rows]
    if session.form == "text":
        session.rows(HEADER, shown)
        return
    lines = [_total(reply), *(table_lines(HEADER, shown) if shown else ["nothing runs"])]
    if sys.stdout.isatty():
        click.clear()
        lines = _fitted(lines, shutil.get_terminal_size().lines - 1)
    click.echo("\n".join(lines))


def _total(reply: ops.TopReply) -> str:
    """By tier: what an agent reads, a collector receives as well."""
    tiers = []
    for role, does in (("agent", "read"), ("collector", "receive")):
        rows = [each for physical in reply.nodes if physical.role == role for each in physical.logical]
        events_s, bytes_s = sum(each.events_s for each in rows), sum(each.bytes_s for each in rows)
        tiers.append(f"{role}s {does} {events_s:,.0f} events/s, {bytes_s / 1e6:.1f} MB/s")
    return "; ".join(tiers)


def _fitted(lines: list[str], room: int) -> list[str]:
    """What fits on a screen, from the top: there are those with the highest rates."""
    if len(lines) <= room:
        return lines
    kept = max(2, room - 1)
    return [*lines[:kept], f"... {len(lines) - kept} lines more: `qanat top NODES` shows these alone"]
