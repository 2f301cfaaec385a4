"""What all admin commands have in common: which master to ask, and how to say the answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import click
import msgspec
from click.core import ParameterSource

from qanat.cli.admin import settings
from qanat.cli.shell.connection import Connection
from qanat.control.client import MasterClient

F = TypeVar("F", bound=Callable[..., Any])

FORMS = ("table", "json", "text")


@dataclass(frozen=True, slots=True)
class Session:
    """A master to ask, and the form of the output."""

    client: MasterClient
    form: str

    def call(self, method: str, request: msgspec.Struct) -> Any:
        """The operation's reply."""
        reply = self.client.call(method, request)
        if self.client.is_stale:
            click.echo(
                "the coordination store does not answer this master: what it says may be old", err=True
            )
        return reply

    def show(self, reply: msgspec.Struct, readable: Callable[[], None]) -> None:
        """As JSON, or as `readable` prints it."""
        if self.form == "json":
            click.echo(msgspec.json.format(msgspec.json.encode(reply)).decode())
        else:
            readable()

    def rows(self, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], none: str = "none") -> None:
        """A table for people, or `none` when there are no rows; or lines of fields with tabs between them for scripts."""
        if self.form == "text":
            for row in rows:
                click.echo("\t".join(" ".join(field.split()) for field in row))
            return
        if not rows:
            click.echo(none)
            return
        from qanat.cli.admin.tables import print_table

        print_table(header, rows)


def admin_options(command: F) -> Callable[..., Any]:
    """Gives the command a `session` as its first argument."""

    @click.option(
        "--master",
        metavar="HOST:PORT,...",
        envvar="QANAT_MASTER",
        help="Masters; any of them will do. Default: QANAT_MASTER, else `master` in ~/.config/qanat/config.toml.",
    )
    @click.option(
        "--output",
        "-o",
        "form",
        type=click.Choice(FORMS),
        envvar="QANAT_OUTPUT",
        help="table for people, text for scripts (fields with tabs between them), json with everything. Default: table.",
    )
    @functools.wraps(command)
    def wrapped(master: str | None, form: str | None, **arguments: Any) -> Any:
        file = settings.read()
        chosen = form or file.output or FORMS[0]
        if chosen not in FORMS:
            raise click.UsageError(f"output {chosen!r} in {settings.path()} is none of {', '.join(FORMS)}")
        with _client(master, file) as client:
            return command(Session(client, chosen), **arguments)

    return wrapped


def _client(master: str | None, file: settings.File) -> AbstractContextManager[MasterClient]:
    """Of the masters that the command line names; within `qanat shell` of those that it is connected to."""
    context = click.get_current_context()
    shell = context.find_object(Connection)
    if shell is None or context.get_parameter_source("master") is ParameterSource.COMMANDLINE:
        return MasterClient(settings.masters(master, file), settings.author(file))
    return shell.client()
