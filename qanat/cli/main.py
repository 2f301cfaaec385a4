"""The `qanat` command: finds the subcommand, imports only that, and turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from qanat.errors import ConfigError, OutcomeUnknownError, QanatError, RetryableError

# Programs that run until they are told to stop.
_DAEMONS = {"agent", "collector", "master", "run"}

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TEMPORARY = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

# Name -> where the click command is (module:attribute), and the line that `qanat --help` shows without importing it.
BUILT_IN = {
    "check": ("qanat.cli.check_command:command", "Check flow files; nothing is started."),
    "fmt": ("qanat.cli.fmt:command", "Lay out flow files in the canonical form."),
    "run": ("qanat.cli.run:command", "Run a flow file, all tiers on this machine."),
    "demo": ("qanat.cli.demo:command", "Start a small cluster here, break it, and count what arrived."),
    "dump": ("qanat.cli.dump:command", "Print what a source yields."),
    "verify": ("qanat.cli.verify:command", "Count what is lost, doubled or out of order in stored files."),
    "wal": ("qanat.cli.wal:command", "Look into the write-ahead log of a fileChannel."),
}
# Those that ask a master. In the order in which they are needed.
_ADMIN = {
    "apply": ("apply:apply", "Make the cluster run what a flow file says."),
    "diff": ("apply:diff", "Show how a flow file differs from what is configured."),
    "status": ("status:status", "Show what runs on every node."),
    "wait": ("waiting:wait", "Wait until nodes are applied, active or done."),
    "top": ("status:top", "Show the rates of logical nodes, again and again."),
    "tap": ("tap:tap", "Show a live sample of the events that pass."),
    "nodes": ("status:nodes", "List the physical nodes."),
    "masters": ("status:masters", "List the masters."),
    "get": ("configuration:get", "Show how logical nodes are configured."),
    "config": ("configuration:config", "Configure one logical node."),
    "multiconfig": ("configuration:multiconfig", "Configure all logical nodes of a text."),
    "unconfig": ("configuration:unconfig", "Delete the configuration of logical nodes."),
    "history": ("configuration:history", "Show former versions of a configuration."),
    "rollback": ("configuration:rollback", "Go back to a former version."),
    "map": ("placement:map_nodes", "Run logical nodes on a physical node."),
    "spawn": ("placement:spawn", "The same as map."),
    "unmap": ("placement:unmap", "Take back what was mapped."),
    "mappings": ("placement:mappings", "Show what was mapped by hand."),
    "refresh": ("status:refresh", "Build logical nodes anew."),
    "limit": ("limits:limit", "Set, show or delete rate limits, for choke."),
    "decommission": ("configuration:decommission", "Delete logical nodes, with their mappings."),
    "purge": ("placement:purge", "Forget physical nodes that are gone."),
    "save": ("configuration:save", "Write the whole configuration as a flow file."),
    "load": ("configuration:load", "Configure what `qanat save` wrote."),
}
BUILT_IN |= {name: (f"qanat.cli.admin.{target}", line) for name, (target, line) in _ADMIN.items()}
BUILT_IN["shell"] = (
    "qanat.cli.shell.command:command",
    "All of these, and Flume OG's commands, one after the other.",
)
BUILT_IN["completion"] = (
    "qanat.cli.completion:command",
    "Print the script that makes a shell complete commands.",
)

# What `qanat shell` has, too.
ADMIN = tuple(_ADMIN)

# Programs that ship with this distribution bring their command as an entry point, like anybody's.
PROGRAMS = {
    "agent": "Run an agent: read events and send them to collectors.",
    "collector": "Run a collector: take events from agents and store them.",
    "master": "Run a master: configure all nodes from one place.",
}

# Set by the script of `qanat completion`, as click has it: Tab was pressed.
COMPLETION_VARIABLE = "_QANAT_COMPLETE"

# Their output is for reading or for a pipe; what they do on the way is of no interest unless it goes wrong.
_RESULT_COMMANDS = {"demo", "dump", "verify", "wal"}
# They log nothing, and are run for every file and every commit: they start without a log, in half the time.
_SILENT_COMMANDS = {"check", "fmt", "shell", "completion", *_ADMIN}

EPILOG = """\b
Exit codes:
  0    done
  1    a check failed, or something is damaged
  2    wrong usage or configuration; the message says what to change
  3    temporary trouble (busy files, a server away): try again later
  130  interrupted"""


@dataclass(slots=True)
class Options:
    """What is given before the subcommand; `click.Context.obj` of every command."""

    debug: bool = False


class ReaderGoneError(Exception):
    """Whoever read our output has closed it."""


class LazyGroup(click.Group):
    """Lists its commands from tables and entry points, and imports the one that is invoked."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError as error:  # click itself would exit with 1, which is for failed checks
            raise ReaderGoneError from error
        return result

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._targets())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        # Entry points are looked at only if they have to be: reading them takes a third of the time of a quick command.
        known = BUILT_IN.get(cmd_name)
        target = self._targets().get(cmd_name) if known is None else known[0]
        return None if target is None else _load(cmd_name, target)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        is_foreign = bool(args) and args[0] not in BUILT_IN and not args[0].startswith("-")
        if is_foreign and args[0] not in (known := self._targets()):
            from qanat.flow.faults import did_you_mean

            raise click.UsageError(f'there is no command "{args[0]}"{did_you_mean(args[0], known)}', ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        targets = self._targets()
        admin = [name for name in (*_ADMIN, "shell") if name in targets]
        programs = [name for name in PROGRAMS if name in targets]
        others = sorted(targets.keys() - {*admin, *programs})
        for title, names in (("On this machine", others), ("Daemons", programs), ("Through a master", admin)):
            with formatter.section(title):
                formatter.write_dl([(name, _short_help(name, targets[name])) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Commands by their lines in the tables: Tab need not import them all."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        targets = self._targets()
        names = [name for name in sorted(targets) if name.startswith(incomplete)]
        return [CompletionItem(name, help=_short_help(name, targets[name])) for name in names]

    def _targets(self) -> dict[str, str]:
        from qanat import registry

        targets = {entry.name: entry.value for entry in registry.entries(registry.COMMANDS)}
        return targets | {name: target for name, (target, _) in BUILT_IN.items()}


def _short_help(name: str, target: str) -> str:
    if name in BUILT_IN:
        return BUILT_IN[name][1]
    return PROGRAMS.get(name, f"From {target.partition(':')[0]}.")


def _load(name: str, target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f'the command "{name}" ({target}) could not be loaded: {error}; '
            "it is not part of this installation, or something that it needs is not installed"
        ) from error
    if not isinstance(command, click.Command):
        raise ConfigError(
            f'the command "{name}" ({target}) is not a click command; its author has to change that'
        )
    return command


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="qanat", prog_name="qanat")
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    envvar="QANAT_LOG_LEVEL",
    help="Default: info for daemons, warning for commands that print a result.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    envvar="QANAT_LOG_FORMAT",
    help="Default: text on a terminal, else json.",
)
@click.pass_context
def cli(context: click.Context, debug: bool, log_level: str | None, log_format: str | None) -> None:
    """Move events from many hosts into storage: in order, exactly once.

    \b
    Try it:    qanat demo
    One host:  qanat run app.flow
    Daemons:   qanat master ..., qanat collector ..., qanat agent ...
    Cluster:   qanat apply web.flow, qanat status

    `qanat COMMAND --help` explains each.
    """
    context.obj.debug = debug
    context.color = colour()
    if context.invoked_subcommand in _SILENT_COMMANDS:
        return
    from qanat import log

    usual = "warning" if context.invoked_subcommand in _RESULT_COMMANDS else "info"
    log.configure(level=log_level or usual, form=log_format)


def colour() -> bool | None:
    """As `click.Context.color`: False where the user wants none (no-color.org), else None: on terminals."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def _stop_before_start(number: int, frame: object) -> NoReturn:
    """SIGTERM while a program still imports what it needs: nothing was begun, so there is nothing to drain."""
    os._exit(EXIT_OK)


def main(arguments: Sequence[str] | None = None, tell: Callable[[str], None] | None = None) -> int:
    """Run the command line and return its exit code. `tell`: whom beside stderr to tell of the error that it ends with."""
    options = Options()
    if os.environ.get(COMPLETION_VARIABLE, "").endswith("_complete"):
        from qanat.cli.completion import be_quiet

        be_quiet()
    if arguments is None and _DAEMONS.intersection(sys.argv[1:]):
        signal.signal(signal.SIGTERM, _stop_before_start)
    # gRPC writes to stderr by itself, past every log format; what matters comes as an exception as well.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        result: Any = cli.main(arguments, prog_name="qanat", standalone_mode=False, obj=options)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except ReaderGoneError:
        _silence_stdout()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _silence_stdout()
        click.echo(f"qanat: the output could not be written: {error}; make room and run it again", err=True)
        return EXIT_TEMPORARY
    except QanatError as error:
        if options.debug:
            traceback.print_exc()
        click.echo(f"qanat: {error}", err=True)
        if tell is not None:
            tell(str(error))
        return exit_code(error)
    return result if isinstance(result, int) else EXIT_OK


def exit_code(error: QanatError) -> int:
    """The exit code that tells a script what to do about `error`."""
    match error:
        case ConfigError():
            return EXIT_USAGE
        case RetryableError() | OutcomeUnknownError():
            return EXIT_TEMPORARY
        case _:
            return EXIT_FAILED


def _silence_stdout() -> None:
    """Whoever read our output is gone: the interpreter must not complain about it again when it flushes."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
