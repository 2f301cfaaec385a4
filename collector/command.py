"""`qanat collector`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import click

from qanat.cli.check import check_collector
from qanat.cli.duration import DurationParam
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
from qanat.coordination.open import open_store
from qanat.errors import ConfigError
from qanat.flow.model import LogicalNode
from qanat.rpc.address import COLLECTOR_PORT, host_port

WILDCARDS = ("[::]", "0.0.0.0")


@click.command(name="collector")
@program_options
@click.option(
    "--store",
    metavar="URL",
    envvar="QANAT_STORE",
    help="Coordination store, the same for all collectors. Default: embedded:STATE_DIR/store.db",
)
@click.option(
    "--listen",
    metavar="[HOST:]PORT",
    envvar="QANAT_LISTEN",
    help="With --master: where autoCollectorSource listens; if there are several, the first of them. "
    f"Default: [::]:{COLLECTOR_PORT}, or another port where that is taken.",
)
@click.option(
    "--advertise",
    metavar="HOST",
    envvar="QANAT_ADVERTISE",
    help="With --master: by which name or address agents reach this host. Default: HOST of --listen, else the address from "
    "which this host reaches the masters.",
)
@click.option(
    "--commit-interval",
    default="200ms",
    type=DurationParam(),
    show_default=True,
    metavar="DURATION",
    help="How often what was received is committed and acknowledged.",
)
@click.option(
    "--adopt-after",
    default="30s",
    type=DurationParam(),
    show_default=True,
    metavar="DURATION",
    help="Where collectors share a directory: finish the files of one that has been dead for so long; 0s: never.",
)
def command(
    flow_file: Path | None,
    masters: tuple[str, ...],
    labels: dict[str, str],
    name: str | None,
    state_dir: Path,
    only: tuple[str, ...],
    metrics: str | None,
    store: str | None,
    listen: str | None,
    advertise: str | None,
    commit_interval: float,
    adopt_after: float,
) -> None:
    """Run a collector: take events from agents and store them.

    Runs what masters say (--master), or the logical nodes of FLOWFILE that take what agents deliver, for example

    \b
      coll : collectorSource(35853) | file("/data/%Y-%m-%d/", "web-") ;

    until SIGTERM, which commits what was received and closes its files. Killed at any moment, it goes on with exactly
    what was committed when it is started again with the same --name, --state-dir and --store.

    Exit codes: 0 stopped by a signal; 1 storage is damaged, or a bug; 2 the flow file or the command line is wrong;
    3 the state directory or the port is in use.
    """
    flow_file = flow_or_masters(flow_file, masters, only)
    name = named(name, default_name(state_dir))
    nodes: list[LogicalNode] = []
    if flow_file is not None:
        nodes = chosen(read_tiers(flow_file).collectors, only, flow_file, "a collector")
        check_collector(nodes)
    elif store is None:
        raise ConfigError(
            "--master without --store: collectors of a cluster commit in one store; give the one that the masters have"
        )
    host, port = _listening(listen)
    from collector.program import Collector, Settings
    from qanat.metrics import Metrics

    settings = Settings(commit_s=commit_interval, adopt_after_s=adopt_after)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(private_directory(state_dir / f"collector-{name}"))
        opened = open_store(store or f"embedded:{state_dir.absolute() / 'store.db'}")
        counters = Metrics()
        if metrics is not None:
            metrics_host, metrics_port = metrics_address(metrics)
            try:
                stack.callback(counters.serve(metrics_port, metrics_host))
            except OSError as error:
                raise ConfigError(f"--metrics {metrics}: can't listen there: {error}") from error
        collector = Collector(name, directory, nodes, opened, counters, settings)
        if flow_file is not None:
            run_until_signal(collector.run)
            return
        from collector.managed import ManagedCollector, Ports, reached_host

        ports = Ports(directory / "ports.json", host, port, insists=listen is not None)
        advertised = advertise or (reached_host(masters) if host in WILDCARDS else host)

        async def main(stop: asyncio.Event) -> None:
            await ManagedCollector(collector, ports, advertised, masters, labels).run(stop)

        run_until_signal(main)


def default_name(state_dir: Path) -> str:
    """After the host, and other than an agent's on the same host. Commit records are kept under a collector's name: one that
    was called as the host alone, as all of them once were, stays so."""
    host = socket.gethostname()
    return host if (state_dir / f"collector-{host}").is_dir() else f"{host}-collector"


def _listening(listen: str | None) -> tuple[str, int]:
    host, _, port = host_port(
        f"[::]:{listen}" if listen and listen.isdigit() else listen or "[::]"
    ).rpartition(":")
    return host, int(port)
