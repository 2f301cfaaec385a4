"""`qanat fmt`: flow files in the canonical layout."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import click

from qanat.cli import flow_files
from qanat.cli.main import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from qanat.flow.faults import FlowError
from qanat.flow.layout import layout


@click.command(name="fmt")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--check", is_flag=True, help="Write nothing; print what would change, and end with 1 if anything would."
)
@click.option("--diff", is_flag=True, help="Write nothing; print what would change.")
def command(files: tuple[str, ...], check: bool, diff: bool) -> int:
    """Lay out flow files in the canonical form.

    White space and line ends are changed, and nothing else: every comment stays, and the flow is what it was. A FILE is
    replaced at once or not at all, and keeps its mode; one that is laid out already is not touched. The text of - is read from
    standard input and written to standard output.

    \b
      qanat fmt flows/*.flow
      qanat fmt --check flows/*.flow      # in CI

    Exit codes: 0 done; 1 --check found a file that is not laid out; 2 a file is no flow, or can't be read or written; the
    other files are done all the same.
    """
    worst = EXIT_OK
    for name in files:
        try:
            before = flow_files.read(name)
            after = layout(before, flow_files.shown(name))
            if check or diff:
                click.echo("".join(_difference(name, before, after)), nl=False)
                worst = max(worst, EXIT_FAILED if check and after != before else EXIT_OK)
            elif name == flow_files.STDIN:
                click.echo(after, nl=False)
            elif after != before:
                flow_files.replace(Path(name), after)
        except FlowError as error:
            click.echo(str(error), err=True)
            worst = EXIT_USAGE
    return worst


def _difference(name: str, before: str, after: str) -> Iterator[str]:
    shown = flow_files.shown(name)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), shown, f"{shown} (laid out)"
    )
    for line in lines:
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
