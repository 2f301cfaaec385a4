"""`qanat master`."""

from __future__ import annotations

import asyncio
import gc
import socket

import click

from qanat.cli.program import metrics_address, run_until_signal
from qanat.coordination.open import open_store
from qanat.errors import ConfigError
from qanat.rpc.address import host_port

# Flume OG's masters listened for their nodes at 35872, and had their web pages at 35871.
MASTER_PORT = 35872
HTTP_PORT = 35871

# New objects between two looks for cycles, 700 unless set: a tenth of the CPU time of a change of ten thousand nodes. Garbage
# that waits for it is some MB.
COLLECT_OBJECTS, COLLECT_OLDER = 50_000, 20


@click.command(name="master")
@click.option(
    "--store",
    metavar="URL",
    envvar="QANAT_STORE",
    required=True,
    help="Coordination store, the same for all masters and collectors: zookeeper://host:2181,.../prefix, or "
    "embedded:/path/store.db for masters of one machine.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    envvar="QANAT_MASTER_LISTEN",
    default=f"[::]:{MASTER_PORT}",
    show_default=True,
    help="For nodes, administrators and other masters.",
)
@click.option(
    "--http",
    metavar="[HOST:]PORT",
    envvar="QANAT_MASTER_HTTP",
    default=f"127.0.0.1:{HTTP_PORT}",
    show_default=True,
    help="For JSON, health and metrics; HOST is 127.0.0.1 unless given. 'none': not at all.",
)
@click.option(
    "--advertise",
    metavar="HOST:PORT",
    envvar="QANAT_MASTER_ADVERTISE",
    help="Where others reach it. Default: the host's name, and the port of --listen.",
)
@click.option(
    "--id",
    "master_id",
    metavar="NAME",
    envvar="QANAT_MASTER_ID",
    help="Unique among the masters, and the same at every start. Default: what is advertised.",
)
def command(store: str, listen: str, http: str, advertise: str | None, master_id: str | None) -> None:
    """Run a master: configure all nodes from one place.

    Run any number of them; each serves every request, and all of them say the same. Nodes are started with

    \b
      qanat agent --master m1,m2,m3
      qanat collector --master m1,m2,m3 --store zookeeper://...

    and told what to run by `qanat apply FILE`. SIGTERM sends the nodes to the other masters first.

    Whoever reaches --listen or --http may change everything: keep both within your network.

    Exit codes: 0 stopped by a signal; 1 another process has the same --id, or a bug; 2 the command line is wrong, or a
    port is in use.
    """
    from master.program import Master, Settings
    from qanat.metrics import MasterMetrics

    listening = host_port(listen, MASTER_PORT)
    reached = host_port(advertise or _reached(listening), MASTER_PORT)
    served = None if http == "none" else metrics_address(http)
    if master_id is not None and not (master_id and master_id.isprintable() and " " not in master_id):
        raise ConfigError(f"--id {master_id!r} is empty, or has spaces or unprintable characters in it")
    settings = Settings(
        master_id=master_id or reached,
        listen=listening,
        advertise=reached,
        http=served,
        http_advertise="" if served is None else f"{_own_name(served[0])}:{served[1]}",
    )
    opened = open_store(store)

    _collect_rarely()

    async def main(stop: asyncio.Event) -> None:
        await Master(settings, opened, MasterMetrics()).run(stop)

    run_until_signal(main)


def _collect_rarely() -> None:
    """The collector of cycles looks at what ten thousand streams hold, and finds nothing: nearly all is freed by counts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_OBJECTS, COLLECT_OLDER, COLLECT_OLDER)


def _reached(listening: str) -> str:
    host, _, port = listening.rpartition(":")
    return f"{_own_name(host)}:{port}"


def _own_name(host: str) -> str:
    """What others call a host that listens at `host`."""
    return socket.gethostname() if host in ("[::]", "0.0.0.0", "::", "") else host
