"""`qanat shell`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click

from qanat.cli.admin import settings
from qanat.cli.shell import ending
from qanat.cli.shell.connection import Connection, addresses
from qanat.cli.shell.interpreter import Interpreter, ScriptError
from qanat.errors import ConfigError

# Beside the commands that ask a master: what an administrator does with flow files.
ALSO = ("check", "fmt")


@click.command(name="shell", context_settings={"help_option_names": ["-h", "--help", "-?"]})
@click.option(
    "-c",
    "--master",
    metavar="HOST[:PORT],...",
    envvar="QANAT_MASTER",
    help="Connect to these masters. Default: `master` in ~/.config/qanat/config.toml.",
)
@click.option("-e", "commands", metavar="COMMAND", multiple=True, help="Do this, and end. May be repeated.")
@click.option(
    "-s",
    "script",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Do what the lines of FILE say, and end.",
)
@click.option("-k", "--keep-going", is_flag=True, help="In scripts: go on after a command that failed.")
@click.option("-q", "--quiet", is_flag=True, help="Print results only: no greeting, no prompt.")
def command(
    master: str | None,
    commands: tuple[str, ...],
    script: Path | None,
    keep_going: bool,
    quiet: bool,
) -> int:
    """Flume OG's shell: reconfigure a cluster command by command.

    Its commands are Flume OG's (`exec config web 'tail("/l")' agentSink`, `getnodestatus`, ...) and those of `qanat` (`status`,
    `apply web.flow`, ...). `help` lists them. Tab completes, Ctrl-C gives a line or a command up, Ctrl-D leaves.

    \b
      qanat shell -c m1,m2,m3
      qanat shell -e 'exec refresh web' -e 'waitForNodesActive 30000 web'
      qanat shell -s setup.fsh
      echo getnodestatus | qanat shell -q

    With -e, -s or a pipe it ends at the first command that fails, says in which line, and exits with that command's code.
    Commands that were submitted are waited for.
    """
    interpreter = _interpreter(master)
    interpreter.keep_going = keep_going
    try:
        if commands or script is not None or not sys.stdin.isatty():
            code = _run(interpreter, commands, script)
        else:
            from qanat.cli.shell.terminal import Terminal

            Terminal(interpreter, quiet=quiet).run()
            code = 0
        return code or ending.wait_for_submitted(interpreter.jobs)
    finally:
        interpreter.jobs.close()


def _interpreter(master: str | None) -> Interpreter:
    """Connected to nothing when nobody said to what: `connect` says it."""
    from qanat.cli.main import ADMIN, cli

    file = settings.read()
    masters: tuple[str, ...] = ()
    if master is not None or file.master:
        masters = addresses(master) if master else settings.masters(None, file)
    with click.Context(cli) as group:
        return Interpreter(
            Connection(settings.author(file), masters),
            lambda name: cli.get_command(group, name),
            (*ADMIN, *ALSO),
        )


def _run(interpreter: Interpreter, commands: tuple[str, ...], script: Path | None) -> int:
    """Gives the exit code of the command that failed, or that failed first."""
    try:
        _run_all(interpreter, commands, script)
    except ScriptError as error:
        click.echo(f"qanat: {error}", err=True)
        return error.code
    return interpreter.failed_code


def _run_all(interpreter: Interpreter, commands: tuple[str, ...], script: Path | None) -> None:
    for text in commands:
        interpreter.run_lines(text.splitlines(keepends=True), "")
    if script is not None and str(script) != "-":
        interpreter.run_file(script)
    elif script is not None or not commands:
        lines, sys.stdin = sys.stdin, _Taken()
        try:
            interpreter.run_lines(lines, "<stdin>")
        finally:
            sys.stdin = lines


class _Taken(io.TextIOBase):
    """Standard input of commands that come from standard input: `apply -` would read the commands behind it as a flow."""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> str:
        raise ConfigError("commands are read from standard input, so nothing else can be; name a file")
