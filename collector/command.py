"""`qanat collector`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from qanat.cli.check import check_collector
from qanat.cli.program import (
    DurationParam,
    chosen,
    metrics_address,
    private_directory,
    program_options,
    read_tiers,
    run_until_signal,
)
from qanat.coordination.open import open_store
from qanat.errors import ConfigError


@click.command(name="collector")
@program_options
@click.option(
    "--store",
    metavar="URL",
    envvar="QANAT_STORE",
    help="Coordination store, the same for all collectors. Default: embedded:STATE_DIR/store.db",
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
    flow_file: Path,
    name: str,
    state_dir: Path,
    only: tuple[str, ...],
    metrics: str | None,
    store: str | None,
    commit_interval: float,
    adopt_after: float,
) -> None:
    """Run a collector: take events from agents and store them.

    Runs the logical nodes of FLOWFILE that take what agents deliver, for example

    \b
      coll : collectorSource(35853) | file("/data/%Y-%m-%d/", "web-") ;

    until SIGTERM, which commits what was received and closes its files. Killed at any moment, it goes on with exactly
    what was committed when it is started again with the same --name, --state-dir and --store.

    Exit codes: 0 stopped by a signal; 1 storage is damaged, or a bug; 2 the flow file or the command line is wrong;
    3 the state directory or the port is in use.
    """
    nodes = chosen(read_tiers(flow_file).collectors, only, flow_file, "a collector")
    check_collector(nodes)
    from collector.program import Collector, Settings
    from qanat.metrics import Metrics

    settings = Settings(commit_s=commit_interval, adopt_after_s=adopt_after)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(private_directory(state_dir / f"collector-{name}"))
        opened = open_store(store or f"embedded:{state_dir.absolute() / 'store.db'}")
        counters = Metrics()
        if metrics is not None:
            host, port = metrics_address(metrics)
            try:
                stack.callback(counters.serve(port, host))
            except OSError as error:
                raise ConfigError(f"--metrics {metrics}: can't listen there: {error}") from error
        run_until_signal(Collector(name, directory, nodes, opened, counters, settings).run)
