"""`qanat check`: every fault of flow files, offline."""

from __future__ import annotations

import json

import click

from qanat.check import check
from qanat.cli import flow_files
from qanat.cli.main import EXIT_OK, EXIT_USAGE
from qanat.flow.faults import Fault, FlowError


@click.command(name="check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--json", "as_json", is_flag=True, help="A list of {file, line, column, message} instead of text."
)
def command(files: tuple[str, ...], as_json: bool) -> int:
    """Check flow files, without a cluster and without starting anything.

    Every fault of every FILE is printed as file:line:column: message, with the line and a caret below it: wrong syntax,
    components and arguments that do not exist, wrong types, units and values, sources that can't feed their sinks. FILE may
    be - for standard input.

    \b
      qanat check flows/*.flow
      git diff --cached --name-only '*.flow' | xargs --no-run-if-empty qanat check

    What exists is what is installed here: check with the same version and plug-ins as the cluster has.

    Exit codes: 0 no fault; 2 there are some.
    """
    found = [fault for name in files for fault in _faults(name)]
    if as_json:
        click.echo(json.dumps([_as_json(fault) for fault in found], indent=2, ensure_ascii=False))
    else:
        for fault in found:
            click.echo(str(fault))
    return EXIT_USAGE if found else EXIT_OK


def _faults(name: str) -> tuple[Fault, ...]:
    try:
        check(flow_files.read(name), flow_files.shown(name))
    except FlowError as error:
        return error.found
    return ()


def _as_json(fault: Fault) -> dict[str, str | int]:
    place = fault.place
    return {"file": place.path, "line": place.line, "column": place.column, "message": fault.message}
