"""`qanat run`: all tiers of a flow file on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click
import structlog

from qanat.cli.check import check_tiers
from qanat.cli.duration import DurationParam
from qanat.cli.ports import free_ports
from qanat.cli.program import private_directory, read_tiers, run_until_signal
from qanat.cli.supervisor import Program, run_until_stopped
from qanat.errors import ConfigError
from qanat.flow.local import localise
from qanat.flow.model import Flow
from qanat.flow.printer import print_flow

log = structlog.get_logger(__name__)


@click.command(name="run")
@click.argument("flow_file", metavar="FLOWFILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: Path("~/.local/state/qanat-run").expanduser(),
    envvar="QANAT_STATE_DIR",
    help="Where positions and commits are kept; the same at every start. Default: ~/.local/state/qanat-run",
)
@click.option(
    "--commit-interval",
    default="200ms",
    show_default=True,
    metavar="DURATION",
    type=DurationParam(),
    help="How often what was received is committed and acknowledged.",
)
@click.option("--check", is_flag=True, help="Check the flow file, print what each tier would run, and end.")
def command(flow_file: Path, state_dir: Path, commit_interval: float, check: bool) -> None:
    """Run a flow file, all tiers on this machine.

    Starts an agent process and a collector process with a coordination store in a file between them, restarts them when
    they die, and stops them in order on Ctrl-C or SIGTERM. A node may lead from a source straight into storage, and
    autoE2EChain means all autoCollectorSource nodes of the file:

    \b
      app : tail("/var/log/app/*.log") | file("/data/%Y-%m-%d/", "app-") ;

    Exactly once holds as in a cluster: kill it at any moment, start it again with the same --state-dir.

    Exit codes: 0 stopped by a signal; 2 the flow file is wrong; 3 the state directory is in use.
    """
    tiers = read_tiers(flow_file)
    check_tiers(tiers)
    with contextlib.ExitStack() as probes:
        flows = localise(tiers, free_ports(probes))
    if not flows.agents.nodes and not flows.collectors.nodes:
        raise ConfigError(f"{flow_file} has no logical node; write for example: {_EXAMPLE}")
    if check:
        _print(flows.agents, "agent")
        _print(flows.collectors, "collector")
        return
    with private_directory(state_dir) as directory:
        commit = f"--commit-interval={commit_interval * 1e3:g}ms"
        programs = [
            [_program("agent", flows.agents, directory)] if flows.agents.nodes else [],
            [_program("collector", flows.collectors, directory, commit)] if flows.collectors.nodes else [],
        ]
        run_until_signal(lambda stop: run_until_stopped(programs, stop))


_EXAMPLE = 'app : tail("/var/log/app.log") | file("/data/", "app-") ;'


def _print(flow: Flow, tier: str) -> None:
    click.echo(f"# {tier}")
    click.echo(print_flow(flow))


def _program(tier: str, flow: Flow, directory: Path, *options: str) -> Program:
    path = directory / f"{tier}.flow"
    path.write_text(print_flow(flow), encoding="utf-8")
    return Program(tier, [tier, str(path), "--name", "local", "--state-dir", str(directory), *options])
