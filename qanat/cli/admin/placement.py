"""`qanat map`, `unmap`, `mappings`: what runs where, by hand. `qanat purge`: forget hosts that are gone."""

from __future__ import annotations

import click

from qanat.cli import completion_names
from qanat.cli.admin.apply import YES, agreed
from qanat.cli.admin.command import Session, admin_options
from qanat.control.operations import cluster
from qanat.control.operations import configuration as ops

EXIT_REFUSED = 1

PHYSICAL = click.argument("physical", metavar="PHYSICAL", shell_complete=completion_names.physical)
LOGICAL = click.argument(
    "logical", metavar="LOGICAL...", nargs=-1, required=True, shell_complete=completion_names.logical
)
AHEAD = click.option("--ahead", is_flag=True, help="Also logical nodes that are not configured yet.")


def _show(session: Session, reply: ops.MappingsReply) -> None:
    rows = [(physical, " ".join(logical)) for physical, logical in sorted(reply.mapping.items())]
    session.show(reply, lambda: session.rows(("PHYSICAL", "LOGICAL"), rows, "nothing is mapped by hand"))
    for note in reply.notes or ():
        click.echo(click.style(f"note: {note}", fg="yellow"), err=True)


@click.command(name="map")
@PHYSICAL
@LOGICAL
@AHEAD
@admin_options
def map_nodes(session: Session, physical: str, logical: tuple[str, ...], ahead: bool) -> None:
    """Run logical nodes on a physical node, in addition to what selectors put there."""
    _show(session, session.call("map", ops.Map(physical=physical, logical=list(logical), ahead=ahead)))


@click.command(name="spawn")
@PHYSICAL
@LOGICAL
@AHEAD
@admin_options
def spawn(session: Session, physical: str, logical: tuple[str, ...], ahead: bool) -> None:
    """The same as `qanat map`, as Flume OG called it."""
    _show(session, session.call("spawn", ops.Spawn(physical=physical, logical=list(logical), ahead=ahead)))


@click.command(name="unmap")
@click.argument("physical", metavar="[PHYSICAL]", default="", shell_complete=completion_names.physical)
@click.argument("logical", metavar="[LOGICAL]...", nargs=-1, shell_complete=completion_names.logical)
@click.option("--all", "everywhere", is_flag=True, help="What was mapped to any physical node.")
@admin_options
def unmap(session: Session, physical: str, logical: tuple[str, ...], everywhere: bool) -> None:
    """Take back what was mapped by hand: these logical nodes, or all of PHYSICAL's."""
    _show(session, session.call("unmap", ops.Unmap(physical=physical, logical=list(logical), all=everywhere)))


@click.command(name="mappings")
@admin_options
def mappings(session: Session) -> None:
    """Show what was mapped by hand."""
    _show(session, session.call("mappings", ops.Mappings()))


@click.command(name="purge")
@click.argument("names", metavar="[PHYSICAL]...", nargs=-1, shell_complete=completion_names.physical)
@click.option("--all", "everywhere", is_flag=True, help="All that are attached to no master.")
@YES
@admin_options
def purge(session: Session, names: tuple[str, ...], everywhere: bool, yes: bool) -> int | None:
    """Forget physical nodes that are gone for good, with what was mapped to them."""
    if not agreed(f"Forget {', '.join(names) or 'all nodes that are gone'}?", yes=yes):
        return EXIT_REFUSED
    reply = session.call("purge", cluster.Purge(names=list(names), all=everywhere))
    session.show(reply, lambda: click.echo(f"forgotten: {', '.join(reply.nodes) or 'none'}"))
    return None
