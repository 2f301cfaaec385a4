"""`qanat get`, `config`, `unconfig`, `decommission`, `history`, `rollback`, `save`, `load`: what should run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from qanat.cli import completion_names, flow_files
from qanat.cli.admin.apply import FLOW_FILE, TIMEOUT, WAIT, YES, agreed, read_flow, wait_for_plan
from qanat.cli.admin.command import Session, admin_options
from qanat.cli.admin.plans import changes, print_plan, summary
from qanat.control.operations import configuration as ops
from qanat.errors import ConfigError

EXIT_REFUSED = 1

NAMES = click.argument(
    "names", metavar="LOGICAL...", nargs=-1, required=True, shell_complete=completion_names.logical
)
FLOW = click.option("--flow", metavar="NAME", help="Only this flow.", shell_complete=completion_names.flows)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Only show what would change.")


@click.command(name="get")
@click.argument("names", metavar="[LOGICAL]...", nargs=-1, shell_complete=completion_names.logical)
@FLOW
@admin_options
def get(session: Session, names: tuple[str, ...], flow: str | None) -> None:
    """Show how logical nodes are configured: all, or those that are named."""
    reply = session.call("get", ops.Get(names=list(names), flow=flow))
    header = ("LOGICAL", "FLOW", "VERSION", "CHANGED", "BY", "STATEMENT")
    session.show(
        reply, lambda: session.rows(header, [_row(each) for each in reply.nodes], "nothing is configured")
    )


@click.command(name="history")
@click.argument("logical", metavar="LOGICAL", shell_complete=completion_names.logical)
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="How many at most.")
@admin_options
def history(session: Session, logical: str, limit: int) -> None:
    """Show the former versions of a logical node's configuration, the last first."""
    reply = session.call("history", ops.History(logical=logical, limit=limit))
    header = ("VERSION", "CHANGED", "BY", "STATEMENT")
    session.show(reply, lambda: session.rows(header, [_row(each)[2:] for each in reply.nodes]))


@click.command(name="config")
@click.argument("logical", metavar="LOGICAL", shell_complete=completion_names.logical)
@click.argument("source", metavar="SOURCE")
@click.argument("sink", metavar="SINK")
@click.option(
    "--flow",
    default="",
    metavar="NAME",
    help="Default: the one that it is in.",
    shell_complete=completion_names.flows,
)
@click.option("--selector", default="", metavar="LABELS", help="Where it runs, as in role=web.")
@DRY_RUN
@WAIT
@TIMEOUT
@admin_options
def config(
    session: Session,
    logical: str,
    source: str,
    sink: str,
    flow: str,
    selector: str,
    dry_run: bool,
    wait: bool,
    timeout: float,
) -> int | None:
    """Configure one logical node, as Flume OG's `config` did.

    \b
      qanat config web 'tail("/var/log/nginx/access.log")' autoE2EChain --selector role=web
    """
    request = ops.Config(
        logical=logical, source=source, sink=sink, flow=flow, selector=selector, dry_run=dry_run
    )
    plan = session.call("config", request)
    _print_change(session, plan)
    return wait_for_plan(session, plan, timeout) if wait and not dry_run else None


@click.command(name="multiconfig")
@click.argument("text", metavar="FLOW")
@DRY_RUN
@WAIT
@TIMEOUT
@admin_options
def multiconfig(session: Session, text: str, dry_run: bool, wait: bool, timeout: float) -> int | None:
    """Configure all logical nodes of FLOW, a text, as Flume OG's `multiconfig` did. `qanat apply` does it with a file, and asks.

    \b
      qanat multiconfig 'a @ tier=web : tail("/var/log/a.log") | autoE2EChain ; b : autoCollectorSource | file("/data/", "b-") ;'
    """
    plan = session.call("multiconfig", ops.Multiconfig(text=text, dry_run=dry_run))
    _print_change(session, plan)
    return wait_for_plan(session, plan, timeout) if wait and not dry_run else None


@click.command(name="unconfig")
@NAMES
@YES
@admin_options
def unconfig(session: Session, names: tuple[str, ...], yes: bool) -> int | None:
    """Delete the configuration of logical nodes. They are drained and end; their histories stay, for `qanat rollback`."""
    if not agreed(f"Delete the configuration of {', '.join(names)}?", yes=yes):
        return EXIT_REFUSED
    _print_change(session, session.call("unconfig", ops.Unconfig(names=list(names))))
    return None


@click.command(name="decommission")
@NAMES
@YES
@admin_options
def decommission(session: Session, names: tuple[str, ...], yes: bool) -> int | None:
    """Delete logical nodes: their configuration, and every mapping that names them."""
    if not agreed(f"Delete {', '.join(names)} with all mappings?", yes=yes):
        return EXIT_REFUSED
    _print_change(session, session.call("decommission", ops.Decommission(names=list(names))))
    return None


@click.command(name="rollback")
@click.argument("logical", metavar="LOGICAL", shell_complete=completion_names.logical)
@click.argument("version", metavar="VERSION", type=click.IntRange(min=1))
@DRY_RUN
@YES
@WAIT
@TIMEOUT
@admin_options
def rollback(
    session: Session, logical: str, version: int, dry_run: bool, yes: bool, wait: bool, timeout: float
) -> int | None:
    """Configure a logical node as it was in VERSION. That makes a new version; `qanat history LOGICAL` lists them."""
    plan = session.call("rollback", ops.Rollback(logical=logical, version=version, dry_run=True))
    if not dry_run and changes(plan):
        if session.form != "json":
            print_plan(plan)
        if not agreed("Go back?", yes=yes):
            return EXIT_REFUSED
        plan = session.call("rollback", ops.Rollback(logical=logical, version=version))
        session.show(plan, lambda: click.echo(f"{summary(plan)} (revision {plan.revision})"))
    else:
        session.show(plan, lambda: print_plan(plan))
    return wait_for_plan(session, plan, timeout) if wait and not dry_run else None


@click.command(name="save")
@click.argument(
    "flow_file", metavar="[FILE]", required=False, type=click.Path(dir_okay=False, path_type=Path)
)
@FLOW
@admin_options
def save(session: Session, flow_file: Path | None, flow: str | None) -> None:
    """Write the whole configuration as one flow file: to FILE, or to standard output.

    FILE is replaced at once or not at all, and is a flow file whatever --output says. What `qanat map` placed by hand is in
    comments at its end, from where `qanat load` reads it.
    """
    reply = session.call("save", ops.Save(flow=flow))
    text = saved_text(reply)
    if flow_file is not None:
        write_flow(flow_file, text)
    if flow_file is None or session.form == "json":
        session.show(reply, lambda: click.echo(text, nl=False))


MAPPED = "# mapped: "
LIMITED = "# limit: "


def saved_text(reply: ops.Saved) -> str:
    """A flow file, with what was placed by hand and rate limits in comments."""
    mapped = (
        f"{MAPPED}{json.dumps([physical, *logical])}\n" for physical, logical in sorted(reply.mapping.items())
    )
    limits = (f"{LIMITED}{json.dumps([each.id, each.events_s, each.bytes_s])}\n" for each in reply.limits)
    return "".join((reply.text, *mapped, *limits))


def write_flow(flow_file: Path, text: str) -> None:
    """Raises ConfigError."""
    if flow_file.is_file():  # a backup that is there is not lost for one that could not be written
        flow_files.replace(flow_file, text)
        return
    try:
        flow_file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{flow_file} can't be written: {error}") from error


@click.command(name="load")
@FLOW_FILE
@DRY_RUN
@YES
@WAIT
@TIMEOUT
@admin_options
def load(
    session: Session, flow_file: Path, dry_run: bool, yes: bool, wait: bool, timeout: float
) -> int | None:
    """Configure what `qanat save` wrote, with mappings and rate limits. Nothing is deleted."""
    text, name = read_flow(flow_file)
    saved = read_saved(text, name)
    plan = session.call("load", msgspec.structs.replace(saved, dry_run=True))
    to_do = changes(plan) or saved.mapping or saved.limits or session.client.is_stale
    if not dry_run and to_do:
        if session.form != "json":
            print_plan(plan)
        if not agreed(f"Load {name}?", yes=yes):
            return EXIT_REFUSED
        plan = session.call("load", saved)
        session.show(plan, lambda: click.echo(f"{summary(plan)} (revision {plan.revision})"))
    else:
        session.show(plan, lambda: print_plan(plan))
    return wait_for_plan(session, plan, timeout) if wait and not dry_run else None


def read_saved(text: str, name: str) -> ops.Load:
    """What `saved_text` wrote, of a text that faults call `name`. Raises ConfigError."""
    mapping: dict[str, list[str]] = {}
    limits: list[ops.LimitRow] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.startswith(MAPPED):
                physical, *logical = msgspec.json.decode(line[len(MAPPED) :], type=list[str])
                mapping[physical] = logical
            elif line.startswith(LIMITED):
                values = msgspec.json.decode(line[len(LIMITED) :], type=tuple[str, float, float])
                limits.append(ops.LimitRow(id=values[0], events_s=values[1], bytes_s=values[2]))
        except (ValueError, msgspec.MsgspecError) as error:
            raise ConfigError(
                f'{name}:{number}: "{line}" is not what `qanat save` writes: {MAPPED}["host", "logical"] or '
                f'{LIMITED}["id", 0, 1000000], events and bytes a second'
            ) from error
    return ops.Load(text=text, mapping=mapping, limits=limits)


def _print_change(session: Session, plan: ops.Plan) -> None:
    session.show(plan, lambda: print_plan(plan))


def _row(each: ops.Configured) -> tuple[str, ...]:
    changed = datetime.fromtimestamp(each.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return each.logical, each.flow, str(each.version), changed, each.author, each.text or "(deleted)"
