"""`qanat agent`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from qanat.cli.check import check_agent
from qanat.cli.program import (
    chosen,
    metrics_address,
    private_directory,
    program_options,
    read_tiers,
    run_until_signal,
)
from qanat.errors import ConfigError


@click.command(name="agent")
@program_options
def command(flow_file: Path, name: str, state_dir: Path, only: tuple[str, ...], metrics: str | None) -> None:
    """Run an agent: read events and deliver them to collectors.

    Runs the logical nodes of FLOWFILE that deliver to collectors, for example

    \b
      web : tail("/var/log/nginx/*.log") | agentE2EChain("collector-1", "collector-2") ;

    until SIGTERM, which waits up to 10 s for what was sent to be acknowledged. Killed at any moment, it goes on where
    storage ends when it is started again with the same --name and --state-dir.

    Exit codes: 0 stopped by a signal; 1 another agent with this name is newer, or a bug; 2 the flow file or the command
    line is wrong; 3 the state directory is in use.
    """
    nodes = chosen(read_tiers(flow_file).agents, only, flow_file, "an agent")
    check_agent(nodes)
    from agent.program import Agent
    from qanat.metrics import Metrics

    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(private_directory(state_dir / f"agent-{name}"))
        counters = Metrics()
        if metrics is not None:
            host, port = metrics_address(metrics)
            try:
                stack.callback(counters.serve(port, host))
            except OSError as error:
                raise ConfigError(f"--metrics {metrics}: can't listen there: {error}") from error
        run_until_signal(Agent(name, directory, nodes, counters).run)
