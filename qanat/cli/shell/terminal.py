"""The shell for somebody at a terminal: greeting, prompt, one command after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import metadata

import click

from qanat.cli.shell.completing import Completions
from qanat.cli.shell.ending import ended
from qanat.cli.shell.interpreter import Interpreter
from qanat.errors import QanatError


class Terminal:
    """Until Ctrl-D or `quit`."""

    def __init__(self, interpreter: Interpreter, *, quiet: bool) -> None:
        self._interpreter = interpreter
        self._quiet = quiet
        self._noticed: set[int] = set()
        interpreter.is_chatty = not quiet

    def run(self) -> None:
        """*Blocking*."""
        ask = self._asker()
        self._greet()
        while not self._interpreter.is_done:
            self._tell_what_ended()
            try:
                text = ask(self._prompt())
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            self._do(text)

    def _asker(self) -> Callable[[str], str]:
        if not sys.stdout.isatty():  # as in `qanat shell | tee log`: nothing to draw on
            return _ask_plainly
        from qanat.cli.main import cli
        from qanat.cli.shell.prompt import Prompt

        return Prompt(Completions(self._interpreter, cli)).ask

    def _greet(self) -> None:
        connection = self._interpreter.connection
        if not self._quiet:
            click.echo(f"Qanat shell {metadata.version('qanat')}. `help` lists the commands, Ctrl-D leaves.")
        if not connection.masters:
            if not self._quiet:
                click.echo("Say which master: connect HOST[:PORT]")
            return
        try:
            connection.check()
        except QanatError as error:
            click.echo(f"qanat: {error}", err=True)

    def _prompt(self) -> str:
        if self._quiet:
            return ""
        return f"[qanat {self._interpreter.connection.master or '(disconnected)'}] "

    def _do(self, text: str) -> None:
        connection = self._interpreter.connection
        before, masters = connection.master, connection.masters
        try:
            self._interpreter.run(text)
        except QanatError as error:
            click.echo(f"qanat: {error}", err=True)
        except click.ClickException as error:
            error.show()
        except (click.Abort, KeyboardInterrupt):
            click.echo("\ninterrupted", err=True)  # the terminal has put ^C there
        if before and connection.master not in ("", before) and connection.masters == masters:
            click.echo(f"{before} does not answer; connected to {connection.master}", err=True)

    def _tell_what_ended(self) -> None:
        """Of submitted commands, once each: as other shells do, before the next prompt."""
        for job in self._interpreter.jobs.untold():
            if job.id not in self._noticed:
                self._noticed.add(job.id)
                click.echo(ended(job), err=job.error is not None)


def _ask_plainly(message: str) -> str:
    click.echo(message, nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line
