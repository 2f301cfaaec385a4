"""What the command lines of the programs have in common: options, the private directory, signals."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import resource
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from qanat.check import installed_names, takes_roll
from qanat.control.names import fault_of, fault_of_labels
from qanat.errors import ConfigError, QanatError, RetryableError
from qanat.flow import tiers
from qanat.flow.model import Flow, LogicalNode
from qanat.memory import in_child, keep_buffers
from qanat.rpc.address import MASTER_PORT, host_port

# As selectors name labels without quotes.
LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")

# `timeout`, and some shells and supervisors, signal a process and its group: within this, it is the same wish.
SAME_SIGNAL_S = 1.0

F = TypeVar("F", bound=Callable[..., Any])


def program_options(command: F) -> F:
    """FLOWFILE or masters, and the options that every program has."""
    options = (
        click.argument(
            "flow_file",
            metavar="[FLOWFILE]",
            required=False,
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
        ),
        click.option(
            "--master",
            "masters",
            metavar="HOST:PORT,...",
            envvar="QANAT_MASTER",
            callback=_addresses,
            help="Run what masters say, instead of FLOWFILE. Any of them will do; name several.",
        ),
        click.option(
            "--label",
            "labels",
            multiple=True,
            metavar="KEY=VALUE",
            envvar="QANAT_LABELS",
            callback=_parsed_labels,
            help="With --master: what selectors (web @ role=web) look at; may be given again.",
        ),
        click.option(
            "--name",
            envvar="QANAT_NAME",
            callback=_checked_name,
            help="Physical node; unique in the cluster, and the same at every start. Default: the host's name, for a collector "
            "HOST-collector.",
        ),
        click.option(
            "--state-dir",
            type=click.Path(file_okay=False, path_type=Path),
            default=lambda: Path("~/.local/state/qanat").expanduser(),
            envvar="QANAT_STATE_DIR",
            help="Durable, on this host; each program has a directory of its own in it. "
            "Default: ~/.local/state/qanat",
        ),
        click.option(
            "--only",
            multiple=True,
            metavar="LOGICAL",
            help="Run only this logical node of the file; may be given again. Default: all of this tier.",
        ),
        click.option(
            "--metrics",
            metavar="[HOST:]PORT",
            envvar="QANAT_METRICS",
            help="Serve Prometheus metrics at http://HOST:PORT/metrics; HOST is 127.0.0.1 unless given.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _checked_name(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    """It becomes a part of file names and of what operators read."""
    if name is not None and (fault := fault_of(name)):
        raise click.BadParameter(fault, ctx, param)
    return name


def named(name: str | None, host_name: str) -> str:
    """The name that was given, else the one that is made of the host's. Raises ConfigError when that is no name."""
    if name is None and (fault := fault_of(host_name)):
        raise ConfigError(f"the host's name makes no name of a physical node: {fault}; give one with --name")
    return host_name if name is None else name


def _addresses(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, ...]:
    try:
        parts = (part.strip() for part in (text or "").split(","))
        return tuple(dict.fromkeys(host_port(part, MASTER_PORT) for part in parts if part))
    except ConfigError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _parsed_labels(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not LABEL.fullmatch(key):
            raise click.BadParameter(f"{text!r} is not KEY=VALUE, with a KEY as in role=web", ctx, param)
        found[key] = value
    if fault := fault_of_labels(found):
        raise click.BadParameter(fault, ctx, param)
    return found


def flow_or_masters(flow_file: Path | None, masters: tuple[str, ...], only: tuple[str, ...]) -> Path | None:
    """The flow file, or None when masters say what to run. Raises ConfigError unless exactly one is given; masters from
    the environment yield to a flow file."""
    if flow_file is not None:
        source = click.get_current_context().get_parameter_source("masters")
        if masters and source is ParameterSource.COMMANDLINE:
            raise ConfigError("FLOWFILE and --master: one of the two says what to run; leave the other out")
        return flow_file
    if not masters:
        raise ConfigError(
            "nothing says what to run: give a FLOWFILE, or the masters that know, as --master HOST:PORT or QANAT_MASTER"
        )
    if only:
        raise ConfigError("--only chooses from a FLOWFILE; with --master the masters say what runs here")
    return None


def read_tiers(flow_file: Path) -> tiers.Tiers:
    """The file's logical nodes by tier, without Flume OG's forms. Raises ConfigError with every fault."""
    try:
        text = flow_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"flow file {flow_file} can't be read: {error}") from error
    return tiers.split(in_child(_general_form, text, str(flow_file)), installed_names())


def _general_form(text: str, path: str) -> Flow:
    from qanat.flow.flume import translate_flow  # what reads a flow stays in the child
    from qanat.flow.parser import parse

    flow = parse(text, path)
    tiers.refuse_selectors(flow)
    return translate_flow(flow, takes_roll)


def chosen(
    nodes: tuple[LogicalNode, ...], only: tuple[str, ...], flow_file: Path, tier: str
) -> list[LogicalNode]:
    """The nodes to run. Raises ConfigError when there is none, or one that was asked for is missing."""
    known = {node.name: node for node in nodes}
    missing = [name for name in only if name not in known]
    if missing or not nodes:
        has = ", ".join(known) or "none"
        wanted = f"no logical node {', '.join(missing)}" if missing else f"nothing for {tier}"
        raise ConfigError(f"{flow_file} has {wanted}; its logical nodes for {tier} are: {has}")
    return [known[name] for name in only] if only else list(nodes)


@contextlib.contextmanager
def private_directory(path: Path) -> Iterator[Path]:
    """Create and lock `path`. Raises RetryableError while another process has it, ConfigError when it can't be had."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"state directory {path} can't be used: {error}; choose one with --state-dir"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise RetryableError(
            f"state directory {path} is in use by another process; stop it, or give this one another --name or "
            "--state-dir"
        ) from error
    try:
        yield path
    finally:
        os.close(lock)


def metrics_address(text: str) -> tuple[str, int]:
    """`PORT` or `HOST:PORT`."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--metrics {text!r} is not [HOST:]PORT")
    return host or "127.0.0.1", int(port)


def run_until_signal(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run `main(stop)` on an event loop; SIGTERM and SIGINT set `stop`, a second one ends the process at once."""

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        ignored_until_s = 0.0

        def on_signal() -> None:
            nonlocal ignored_until_s
            if not stop.is_set():
                ignored_until_s = loop.time() + SAME_SIGNAL_S
                stop.set()
            elif loop.time() > ignored_until_s:
                os._exit(130)  # whoever insists gets what SIGKILL would give: recovery covers it

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        await main(stop)

    _allow_open_files()
    keep_buffers()
    try:
        asyncio.run(run())
    except BaseExceptionGroup as group:  # of the program's task group
        errors = list(_leaves(group))
        raise next((error for error in errors if isinstance(error, QanatError)), errors[0]) from group


def _allow_open_files() -> None:
    """As many descriptors as the host lets us have: the soft limit is 1024 for the sake of select(), which nobody uses here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
