"""`qanat agent`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from agent.running import permission
from qanat import registry
from qanat.cli.check import check_agent
from qanat.cli.program import (
    chosen,
    flow_or_masters,
    metrics_address,
    named,
    private_directory,
    program_options,
    read_tiers,
    run_until_signal,
)
from qanat.errors import ConfigError
from qanat.flow.model import LogicalNode
from qanat.flow.printer import print_node
from qanat.flow.routes import generalise


@click.command(name="agent")
@program_options
@click.option(
    "--check", is_flag=True, help="Check the flow file, print the general form of each node, and end."
)
@click.option(
    "--allow-exec",
    is_flag=True,
    envvar="QANAT_ALLOW_EXEC",
    help="Let flows run commands on this host (exec, execPeriodic, execStream).",
)
def command(
    flow_file: Path | None,
    masters: tuple[str, ...],
    labels: dict[str, str],
    name: str | None,
    state_dir: Path,
    only: tuple[str, ...],
    metrics: str | None,
    check: bool,
    allow_exec: bool,
) -> None:
    """Run an agent: read events and deliver them to collectors.

    Runs what masters say (--master), or the logical nodes of FLOWFILE that deliver to collectors, for example

    \b
      web : tail("/var/log/nginx/*.log") | agentE2EChain("collector-1", "collector-2") ;

    Several destinations are a fan-out, [ a, b ], or a failover, < a ? b >; a channel may stand between source and sink.

    SIGTERM ends it within 10 s: it waits for what was sent to be acknowledged, and empties memory channels. Killed at any
    moment, it goes on where storage ends when it is started again with the same --name and --state-dir. When no master
    answers, it runs what it ran last.

    Exit codes: 0 stopped by a signal; 1 another agent with this name is newer, or a bug; 2 the flow file or the command
    line is wrong; 3 the state directory is in use.
    """
    flow_file = flow_or_masters(flow_file, masters, only)
    name = named(name, socket.gethostname())
    nodes: list[LogicalNode] = []
    if allow_exec:
        permission.allow()
    if flow_file is not None:
        nodes = chosen(read_tiers(flow_file).agents, only, flow_file, "an agent")
        check_agent(nodes)
        permission.demand_of(nodes)
    if check:
        for node in nodes:
            click.echo(print_node(replace(node, sink=generalise(node.sink, registry.general_form))))
        return
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
        agent = Agent(name, directory, counters)
        if flow_file is not None:
            from agent import standalone

            run_until_signal(partial(standalone.run, agent, nodes))
            return
        from agent.managed import AgentProgram
        from qanat.control.managed import Managed

        async def main(stop: asyncio.Event) -> None:
            await Managed(AgentProgram(agent), name, labels, masters, directory).run(stop)

        run_until_signal(main)
