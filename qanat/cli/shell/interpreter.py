"""What a line of the shell does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from qanat.cli.shell import helping, nodes, verbs, words
from qanat.cli.shell.connection import Connection
from qanat.cli.shell.jobs import Job, Jobs
from qanat.cli.shell.reports import REPORTS
from qanat.errors import ConfigError, QanatError
from qanat.flow.faults import did_you_mean

# Flume OG's CMD_WAIT_TIME_MS: how long `wait` waits unless it is told.
WAIT_MS = 10_000

# Files that read files: a file that reads itself is a mistake, and not found out by the end of memory.
SOURCE_DEPTH_MAX = 20

# A wait on a lock would not notice Ctrl-C on every platform: look this often.
LOOK_S = 0.2


# Commands take milliseconds: whoever waits longer is told for what.
LATE_S = 1.0


class ScriptError(QanatError):
    """A line of a script failed; `code` is the exit code of why."""

    def __init__(self, place: str, command: str, why: str, code: int) -> None:
        ended = f"{command}: {why}" if why else f"{command} ended with {code}"
        super().__init__(f"{place}: {ended}" if place else ended)
        self.code = code


class FailedError(QanatError):
    """A submitted command failed: `error` says why."""

    def __init__(self, job: Job, error: Exception) -> None:
        super().__init__(str(error))
        self.job, self.error = job, error


class Interpreter:
    """Runs commands. *Thread*: one, and that of submitted commands. `admin`: gives a command of `qanat`, None for none such."""

    def __init__(
        self, connection: Connection, admin: Callable[[str], click.Command | None], names: Iterable[str]
    ) -> None:
        self.connection = connection
        self.jobs = Jobs(connection.call)
        self.is_done = False
        self.is_chatty = False  # somebody watches
        self.keep_going = False  # scripts: after a command that failed
        self.failed_code = 0  # of the first command that failed while scripts kept going
        self.admin_names = sorted(names)
        self._admin = admin
        self._depth = 0
        self._commands: dict[str, Callable[[list[str]], int]] = {
            "help": self._help,
            "connect": self._connect,
            "quit": self._quit,
            "exit": self._quit,
            "source": self._source,
            "exec": self._exec,
            "submit": self._submit,
            "wait": self._wait,
            **{name: partial(self._wait_for_nodes, name) for name in nodes.MEANING},
            **{name: partial(self._report, name) for name in REPORTS},
        }

    @property
    def names(self) -> list[str]:
        """Of all commands, sorted."""
        return sorted({*self._commands, *self.admin_names})

    def run(self, text: str) -> int:
        """Do what a line says; gives an exit code. Raises ConfigError, QanatError, what click raises."""
        line = words.split(text)
        if not line:
            return 0
        name, *arguments = line
        command = self._commands.get(name)
        if command is not None:
            return command(arguments)
        return self._run_admin(name, arguments)

    def run_file(self, file: Path) -> int:
        """All lines, up to the first that fails. Raises ConfigError, ScriptError."""
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"unable to source file {file}: {error}") from error
        return self.run_lines(text.splitlines(keepends=True), str(file))

    def run_lines(self, lines: Iterable[str], place: str) -> int:
        """Raises ScriptError, which names the line in which the command that failed begins."""
        pending, first = "", 0
        for number, line in enumerate(lines, 1):
            first = first if pending else number
            pending += line
            if words.is_unfinished(pending):
                continue
            self._try_line(pending, f"{place}:{first}" if place else "")
            pending = ""
            if self.is_done:
                return 0
        if pending:
            self._try_line(pending, f"{place}:{first}" if place else "")
        return 0

    def _try_line(self, text: str, place: str) -> None:
        try:
            self._run_line(text, place)
        except ScriptError as error:
            if not self.keep_going:
                raise
            click.echo(f"qanat: {error}", err=True)
            self.failed_code = self.failed_code or error.code

    def _run_line(self, text: str, place: str) -> None:
        from qanat.cli.main import exit_code

        command = " ".join(text.split()[:2])
        try:
            code = self.run(text)
        except click.ClickException as error:
            raise ScriptError(place, command, error.format_message(), error.exit_code) from error
        except ScriptError as error:
            raise ScriptError(place, command, str(error), error.code) from error
        except FailedError as error:
            raise ScriptError(place, command, str(error), code_of(error)) from error
        except QanatError as error:
            raise ScriptError(place, command, str(error), exit_code(error)) from error
        if code:
            raise ScriptError(place, command, "", code)

    def _run_admin(self, name: str, arguments: list[str]) -> int:
        """A command of `qanat`, by the code that runs it elsewhere."""
        command = self._admin(name) if name in self.admin_names else None
        if command is None:
            raise ConfigError(
                f'there is no command "{name}"{did_you_mean(name, self.names)}; `help` lists them'
            )
        from qanat.cli.main import colour

        code = command.main(
            arguments, prog_name=name, standalone_mode=False, obj=self.connection, color=colour()
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0

    def _help(self, arguments: list[str]) -> int:
        command = self._admin(arguments[0]) if arguments and arguments[0] in self.admin_names else None
        lines = helping.of(arguments[0], command) if arguments else helping.everything(self.admin_names)
        for line in lines:
            click.echo(line)
        return 0

    def _connect(self, arguments: list[str]) -> int:
        # "connect host: 35872", with a space, is in Flume OG's own tests.
        text = "".join(arguments)
        if self.is_chatty:
            click.echo(f"Connecting to master {text or 'nowhere'}...")
        self.connection.connect(text)
        return 0

    def _quit(self, arguments: list[str]) -> int:
        self.is_done = True
        return 0

    def _source(self, arguments: list[str]) -> int:
        if len(arguments) != 1:
            raise ConfigError("say: source FILE")
        if self._depth >= SOURCE_DEPTH_MAX:
            raise ConfigError(
                f"{arguments[0]}: {SOURCE_DEPTH_MAX} files read each other already; does one read itself?"
            )
        self._depth += 1
        try:
            return self.run_file(Path(arguments[0]).expanduser())
        finally:
            self._depth -= 1

    def _exec(self, arguments: list[str]) -> int:
        if arguments and arguments[0] not in verbs.VERBS and arguments[0] in self.admin_names:
            return self._run_admin(arguments[0], arguments[1:])
        job = self._job("exec", "Execing", arguments)
        try:
            self._until_done(job, 0)
        except KeyboardInterrupt:
            job.caller.give_up()
            if not job.done.wait(LOOK_S):
                click.echo(f"a master was asked already: `wait 0 {job.id}` waits for its answer", err=True)
            job.is_told = job.is_done
            raise
        return self._tell(job)

    def _submit(self, arguments: list[str]) -> int:
        if arguments and arguments[0] not in verbs.VERBS and arguments[0] in self.admin_names:
            raise ConfigError(
                f"{arguments[0]} can't be submitted; say it without `submit`, and it is done at once"
            )
        self._job("submit", "Submitted", arguments)
        return 0

    def _job(self, command: str, participle: str, arguments: list[str]) -> Job:
        if not arguments:
            raise ConfigError(f"say: {command} COMMAND [ARGUMENTS]; `help` lists the commands")
        name, *rest = arguments
        verb = verbs.prepared(name, rest)
        job = self.jobs.submit(name, lambda caller: verb.do(caller, rest))
        click.echo(f"[id: {job.id}] {participle} command : {name}")
        sys.stdout.flush()
        return job

    def _wait(self, arguments: list[str]) -> int:
        if arguments and not arguments[0].lstrip("-").isdigit():
            return self._run_admin("wait", arguments)
        if len(arguments) > 2 or not all(each.isdigit() for each in arguments):
            raise ConfigError("say: wait [MS [ID]], both whole numbers; or wait applied|active|done [NODES]")
        limit_ms = int(arguments[0]) if arguments else WAIT_MS
        job = self.jobs.get(int(arguments[1])) if len(arguments) == 2 else self.jobs.last
        if job is None:
            raise ConfigError(f"Command id {arguments[1] if len(arguments) == 2 else 0} does not exist")
        if not self._until_done(job, limit_ms):
            raise nodes.TimedOutError(f"Command timed out; {job.name} goes on, as id {job.id}")
        return self._tell(job)

    def _until_done(self, job: Job, limit_ms: int) -> bool:
        """Whether it is done by then; 0 has no end."""
        waited_s = 0.0
        while not job.done.wait(LOOK_S):
            waited_s += LOOK_S
            if LATE_S <= waited_s < LATE_S + LOOK_S and (first := self.jobs.pending()[0]) is not job:
                click.echo(f"waiting for {first.name} (id {first.id}), which was submitted before", err=True)
            if limit_ms and waited_s * 1000 >= limit_ms:
                return False
        return True

    def _tell(self, job: Job) -> int:
        job.is_told = True
        if job.error is not None:
            click.echo("Command failed", err=True)
            raise FailedError(job, job.error)
        for line in job.lines:
            click.echo(line)
        click.echo("Command succeeded")
        return 0

    def _wait_for_nodes(self, name: str, arguments: list[str]) -> int:
        if len(arguments) < 2:
            raise ConfigError(f"say: {name} MS NODES...")
        limit_ms, wanted = verbs.milliseconds(arguments[0]), arguments[1:]
        said = f"{limit_ms} ms" if limit_ms else "as long as it takes"
        click.echo(f"Waiting for {said} for nodes [{', '.join(wanted)}] to be {nodes.MEANING[name][1]}")
        sys.stdout.flush()
        click.echo(nodes.wait_for(self.connection.call, name, limit_ms, wanted))
        return 0

    def _report(self, name: str, arguments: list[str]) -> int:
        for line in REPORTS[name](self.connection.call, arguments):
            click.echo(line)
        return 0


def code_of(error: Any) -> int:
    """The exit code of a failed submitted command."""
    from qanat.cli.main import exit_code

    return exit_code(error.error) if isinstance(error.error, QanatError) else 1
