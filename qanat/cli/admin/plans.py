"""What a change would do, for people to agree with."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import click

from qanat.control.operations.configuration import Change, Plan

SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}

# What one looks at before it scrolls away.
NOTES_MAX = 20

# Physical nodes that are named for each logical one; the rest is a number.
NAMED_MAX = 5


def changes(plan: Plan) -> list[Change]:
    """Without what stays as it is."""
    return [each for each in plan.changes if each.change != "unchanged"]


def print_plan(plan: Plan) -> None:
    """Each change with its lines before and after, where it runs, and a sum."""
    for each in changes(plan):
        sign, colour = SIGNS[each.change]
        head = f"{sign} {each.logical}" + (
            f" (flow {each.flow})" if each.flow not in ("", "default-flow") else ""
        )
        click.echo(click.style(head, fg=colour, bold=True) + f"  {_where(each)}")
        for line in _lines(each):
            click.echo(f"    {line}")
    print_notes(plan.notes)
    click.echo(summary(plan))


def print_notes(notes: list[str], *, err: bool = False) -> None:
    """The first of them: thousands of selectors may match nothing yet."""
    for note in notes[:NOTES_MAX]:
        click.echo(click.style(f"note: {note}", fg="yellow"), err=err)
    if len(notes) > NOTES_MAX:
        more = f"note: and {len(notes) - NOTES_MAX} more; --output json has them all"
        click.echo(click.style(more, fg="yellow"), err=err)


def summary(plan: Plan) -> str:
    """`2 to create, 1 to update` or what was done."""
    words = (
        {"create": "created", "update": "updated", "delete": "deleted"}
        if plan.applied
        else {"create": "to create", "update": "to update", "delete": "to delete"}
    )
    counted = {kind: sum(each.change == kind for each in plan.changes) for kind in (*words, "unchanged")}
    parts = [f"{counted[kind]} {word}" for kind, word in words.items() if counted[kind]]
    if not parts:
        return "nothing to change"
    if counted["unchanged"]:
        parts.append(f"{counted['unchanged']} unchanged")
    return ", ".join(parts)


def _where(change: Change) -> str:
    if change.change == "delete":
        return ""
    if not change.runs_on_count:
        return click.style("runs on no node that is known", fg="yellow")
    names = ", ".join(change.runs_on[:NAMED_MAX])
    more = change.runs_on_count - len(change.runs_on[:NAMED_MAX])
    return f"runs on {names}" + (f" and {more} more" if more else "")


def _lines(change: Change) -> Iterator[str]:
    before, after = change.before.splitlines(), change.after.splitlines()
    for line in list(difflib.unified_diff(before, after, lineterm="", n=1))[2:]:
        if not line.startswith("@@"):
            colour = {"+": "green", "-": "red"}.get(line[:1])
            yield click.style(line, fg=colour) if colour else line
