"""`qanat limit`: how fast what `choke("id")` stands before may be."""

from __future__ import annotations

import math
from typing import Any

import click

from qanat.cli import completion_names
from qanat.cli.admin.command import Session, admin_options
from qanat.control.operations import configuration as ops
from qanat.errors import ConfigError
from qanat.flow.faults import did_you_mean

UNLIMITED = "-"


class _Rate(click.FloatRange):
    """A number that there can be so many of in a second: click takes nan and inf for numbers, too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        rate = float(super().convert(value, param, ctx))
        if not math.isfinite(rate):
            self.fail(f"{value!r} is no rate; write a number, or 0 for no limit.", param, ctx)
        return rate


@click.command(name="limit")
@click.argument("id_", metavar="[ID]", default="", shell_complete=completion_names.limits)
@click.option("--events-s", type=_Rate(min=0), help="Events a second; 0 is no limit.")
@click.option("--bytes-s", type=_Rate(min=0), help="Bytes of bodies a second; 0 is no limit.")
@click.option("--delete", is_flag=True, help="Forget the limit: nothing is held back.")
@admin_options
def limit(session: Session, id_: str, events_s: float | None, bytes_s: float | None, delete: bool) -> None:
    """Set, show or delete rate limits.

    ID is what a flow gives to `choke("ID")`. A limit holds on each physical node for all chokes of this id together, from the
    moment that the node hears of it. Nothing is lost: what is too fast is not read yet.

    \b
      qanat limit                                     all limits
      qanat limit lan --bytes-s 1000000               1 MB a second on each node
      qanat limit lan --delete
    """
    setting = events_s is not None or bytes_s is not None
    if not id_ and (setting or delete):
        raise click.UsageError("whose limit? write the id that choke has in the flow: qanat limit ID ...")
    if setting and delete:
        raise click.UsageError("--delete takes no limits: write one or the other")
    if not (setting or delete):
        _show(session, session.call("limit", ops.Limit()), id_)
        return
    request = ops.Limit(id=id_, events_s=events_s or 0.0, bytes_s=bytes_s or 0.0, delete=delete)
    _show(session, session.call("limit", request), "")


def _show(session: Session, reply: ops.LimitsReply, id_: str) -> None:
    found = [each for each in reply.limits if not id_ or each.id == id_]
    if id_ and not found:
        close = did_you_mean(id_, [each.id for each in reply.limits])
        raise ConfigError(f"there is no limit {id_!r}{close or '; `qanat limit` lists them'}")
    rows = [(each.id, _number(each.events_s), _number(each.bytes_s)) for each in found]
    session.show(
        ops.LimitsReply(limits=found),
        lambda: session.rows(("ID", "EVENTS/S", "BYTES/S"), rows, "nothing is limited"),
    )


def _number(value: float) -> str:
    return f"{value:,.10g}" if value else UNLIMITED
