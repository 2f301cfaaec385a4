"""`qanat map`, `unmap`, `mappings`: what runs where, by hand. `qanat purge`: forget hosts that are gone."""

from __future__ import annotations

import click

from qanat.cli.admin.apply import YES, agreed
from qanat.cli.admin.command import Session, admin_options
from qanat.control.operations import cluster
from qanat.control.operations import configuration as ops

EXIT_REFUSED = 1


def _show(session: Session, reply: ops.MappingsReply) -> None:
    rows = [(physical, " ".join(logical)) for physical, logical in sorted(reply.mapping.items())]
    session.show(reply, lambda: session.rows(("PHYSICAL", "LOGICAL"), rows))


@click.command(name="map")
@click.argument("physical", metavar="PHYSICAL")
@click.argument("logical", metavar="LOGICAL...", nargs=-1, required=True)
@admin_options
def map_nodes(session: Session, physical: str, logical: tuple[str, ...]) -> None:
    """Run logical nodes on a physical node, in addition to what selectors put there."""
    _show(session, session.call("map", ops.Map(physical=physical, logical=list(logical))))


@click.command(name="spawn")
@click.argument("physical", metavar="PHYSICAL")
@click.argument("logical", metavar="LOGICAL...", nargs=-1, required=True)
@admin_options
def spawn(session: Session, physical: str, logical: tuple[str, ...]) -> None:
    """The same as `qanat map`, as Flume OG called it."""
    _show(session, session.call("spawn", ops.Spawn(physical=physical, logical=list(logical))))


@click.command(name="unmap")
@click.argument("physical", metavar="PHYSICAL")
@click.argument("logical", metavar="[LOGICAL]...", nargs=-1)
@admin_options
def unmap(session: Session, physical: str, logical: tuple[str, ...]) -> None:
    """Take back what was mapped by hand: these logical nodes, or all of PHYSICAL's."""
    _show(session, session.call("unmap", ops.Unmap(physical=physical, logical=list(logical))))


@click.command(name="mappings")
@admin_options
def mappings(session: Session) -> None:
    """Show what was mapped by hand."""
    _show(session, session.call("mappings", ops.Mappings()))


@click.command(name="purge")
@click.argument("names", metavar="PHYSICAL...", nargs=-1, required=True)
@YES
@admin_options
def purge(session: Session, names: tuple[str, ...], yes: bool) -> int | None:
    """Forget physical nodes that are gone for good, with what was mapped to them."""
    if not agreed(f"Forget {', '.join(names)}?", yes=yes):
        return EXIT_REFUSED
    reply = session.call("purge", cluster.Purge(names=list(names)))
    session.show(reply, lambda: click.echo(f"forgotten: {', '.join(reply.nodes) or 'none'}"))
    return None
