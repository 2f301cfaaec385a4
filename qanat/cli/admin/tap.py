"""`qanat tap`: see events pass."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections import Counter
from datetime import UTC, datetime

import click
import msgspec

from qanat.cli import completion_names
from qanat.cli.admin.command import Session, admin_options
from qanat.cli.duration import DurationParam
from qanat.control.operations import cluster as ops

# As masters have it.
SECONDS_MAX = 3600.0


@click.command(name="tap")
@click.argument("name", metavar="FLOW|LOGICAL", shell_complete=completion_names.sampled)
@click.option(
    "--on",
    "physical",
    default="",
    metavar="PHYSICAL",
    help="Only on this physical node.",
    shell_complete=completion_names.physical,
)
@click.option(
    "--events",
    default=100,
    show_default=True,
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="End after so many.",
)
@click.option(
    "--seconds",
    "--for",
    default="60s",
    show_default=True,
    type=DurationParam(),
    metavar="DURATION",
    help="End after so long, an hour at most.",
)
@click.option(
    "--grep", "contains", default="", metavar="TEXT", help="Only events with TEXT in their body, as it is."
)
@click.option("--long", "is_long", is_flag=True, help="With stream, position and all attributes.")
@admin_options
def tap(
    session: Session,
    name: str,
    physical: str,
    events: int,
    seconds: float,
    contains: str,
    is_long: bool,
) -> None:
    """Show a live sample of the events that pass a logical node, or all logical nodes of a flow, wherever they run.

    \b
      qanat tap web
      qanat tap web --on host-17 --grep 'status=500' --long
      qanat tap audit --output json | jq .body

    Delivery does not notice: each node copies at most 100 events a second, from what it reads (agent) or receives
    (collector), and whatever does not fit is only counted. Of a body, 4 KiB are shown. Ctrl-C ends it everywhere.

    When its master goes away it goes on at another one of those that --master names, without what passes meanwhile.

    With --output json, each event is one JSON object on a line; text separates time, physical and logical node, stream,
    position, attributes and body by tabs. Everything else is said on stderr.
    """
    until_s = time.monotonic() + min(max(0.1, seconds), SECONDS_MAX)
    counts: Counter[str] = Counter()

    def left() -> ops.Tap | None:
        left_s, left_events = until_s - time.monotonic(), events - counts["shown"]
        if left_s <= 0 or left_events <= 0:
            return None
        return ops.Tap(
            logical=name, physical=physical, contains=contains, events_max=left_events, seconds=left_s
        )

    def lost(why: str) -> None:
        click.echo(f"{why}; looking for another master", err=True)

    try:
        with contextlib.closing(session.client.follow("tap", left, lost)) as replies:
            for reply in replies:
                for note in reply.notes:
                    click.echo(note, err=True)
                for event in reply.events:
                    click.echo(_line(session.form, event, is_long=is_long))
                sys.stdout.flush()
                counts.update(replies=1, shown=len(reply.events), passed=reply.dropped)
    finally:  # also when it is interrupted
        if counts:
            more = f"; {counts['passed']} more passed" if counts["passed"] else ""
            click.echo(f"{counts['shown']} events{more}", err=True)


def _line(form: str, event: ops.TapEvent, *, is_long: bool) -> str | bytes:
    if form == "json":
        return msgspec.json.encode(event)
    attributes = " ".join(f"{name}={value}" for name, value in event.attributes.items())
    when = datetime.fromtimestamp(event.timestamp_ns / 1e9, UTC)
    body = printable(event.body)
    if form == "text":
        stamp = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        where = (event.physical, event.logical, event.stream, str(event.position))
        return "\t".join((stamp, *where, printable(attributes), body))
    prefix = f"{when:%H:%M:%S}.{when.microsecond // 1000:03} {event.physical} {event.logical} "
    if is_long:
        cut = f", {event.body_bytes} bytes" if event.body_bytes > len(event.body.encode()) else ""
        about = f"{prefix}{event.stream} @ {event.position}{cut}"
        lines = [click.style(about, dim=True)]
        lines += [click.style(f"  {printable(attributes)}", dim=True)] if attributes else []
        return "\n".join([*lines, f"  {body}"])
    return click.style(prefix, dim=True) + _fitted(body, len(prefix))


def printable(text: str) -> str:
    """What would move the cursor or change a terminal is shown as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _fitted(body: str, before: int) -> str:
    """As much as fits on the line of a terminal; all of it in a pipe."""
    if not sys.stdout.isatty():
        return body
    room = max(20, shutil.get_terminal_size().columns - before)
    return body if len(body) <= room else body[: room - 1] + "…"
