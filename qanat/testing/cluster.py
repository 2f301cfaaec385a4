"""Agents and collectors as real processes on this machine, around one embedded store: for tests and benchmarks.

    with Cluster(directory) as cluster:
        c1 = cluster.collector("c1")
        a1 = cluster.agent("a1", 'tail("/tmp/x/*.log")', c1)
        cluster.start()
        ...
        c1.kill()

Everything is below `directory`: `flows`, `logs`, `state`, `store.db` and, for each collector, `out/<name>`.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.testing.daemon import WAIT_S_MAX, Daemon, DaemonError, ended_together, wait_until

if TYPE_CHECKING:
    from qanat.ledger.verify import Report

LOOPBACK = "127.0.0.1"

# Below the range that Linux takes ports for outgoing connections from: while a killed collector is away, nobody gets
# its port by chance, and an agent that tries it doesn't get connected to itself.
_PORTS = range(20_000, 32_000)
_WORKERS_MAX = 8


def free_port() -> int:
    """A loopback port that nothing listens on, and that nothing gets without asking for it: no other process of pytest-xdist's,
    either, which shares them out, and nobody else in this one."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for port in itertools.islice(_shuffled(worker % _WORKERS_MAX), len(_PORTS) // _WORKERS_MAX):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise DaemonError(f"no free port among {_PORTS[0]} to {_PORTS[-1]}")


@functools.cache
def _shuffled(worker: int) -> Iterator[int]:
    """Its share, again and again."""
    ports = list(_PORTS[worker::_WORKERS_MAX])
    random.shuffle(ports)
    return itertools.cycle(ports)


@dataclass(slots=True)
class Collector(Daemon):
    """`out` is where its `file` sink writes, `port` where agents reach it."""

    port: int = 0
    metrics_port: int = 0
    out: Path = Path()

    @property
    def address(self) -> str:
        """As a flow names it."""
        return f"{LOOPBACK}:{self.port}"

    def stored_events(self) -> int:
        """What this life has committed; 0 while it can't be asked."""
        return int(metric(self.metrics_port, "qanat_stored_events_total"))


@dataclass(slots=True)
class Agent(Daemon):
    """One logical node, `web`."""

    metrics_port: int = 0

    def dropped_events(self) -> int:
        """What this life knows to be lost; 0 while it can't be asked."""
        return int(metric(self.metrics_port, "qanat_dropped_events_total"))

    def read_events(self) -> int:
        """What this life has read; 0 while it can't be asked."""
        return int(metric(self.metrics_port, "qanat_read_events_total"))


def metric(port: int, name: str) -> float:
    """The sum of a metric over its labels; 0 while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=10) as reply:
            text = reply.read().decode()
    except (urllib.error.URLError, OSError):
        return 0.0
    return sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))


class Cluster:
    """A context manager: no process of it lives on after the block. `store`: a URL; by default embedded."""

    def __init__(self, directory: Path, store: str | None = None) -> None:
        self.directory = directory
        self.store = f"embedded:{directory / 'store.db'}" if store is None else store
        self.out = directory / "out"
        self.daemons: list[Daemon] = []
        self._ending = ended_together(self.daemons)
        for each in ("flows", "logs", "state"):
            (directory / each).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Cluster:
        self._ending.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.__exit__(None, None, None)

    def collector(
        self,
        name: str,
        options: str = "roll=1s",
        *,
        sink: str | None = None,
        out: Path | None = None,
        port: int = 0,
        commit: str = "100ms",
        store: str | None = None,
        tune: Mapping[str, float] | None = None,
    ) -> Collector:
        """A collector that writes with `file(OUT, "web-", OPTIONS)`, or with `sink`; not started."""
        out = self.out / name if out is None else out
        port, metrics_port = port or free_port(), free_port()
        comma = ", " if options else ""
        sink = sink or f'file("{out}", "web-"{comma}{options})'
        flow = self._flow(name, f'coll : collectorSource({port}, "{LOOPBACK}") | {sink} ;')
        arguments = ["collector", str(flow), "--name", name, "--state-dir", str(self.directory / "state")]
        arguments += ["--store", store or self.store, "--commit-interval", commit]
        arguments += ["--metrics", str(metrics_port)]
        made = Collector(
            name, arguments, self._log(name), tune or {}, port=port, metrics_port=metrics_port, out=out
        )
        self.daemons.append(made)
        return made

    def agent(
        self,
        name: str,
        source: str,
        *chain: Collector | str,
        state: Path | None = None,
        tune: Mapping[str, float] | None = None,
        sink: str = "agentE2EChain({})",
    ) -> Agent:
        """An agent with one logical node, `web`, that delivers to `chain` (collectors or addresses); not started.

        `source` may end in a channel. `sink`: `{}` is all of `chain`, `{0}` its first, and so on."""
        each = [f'"{one if isinstance(one, str) else one.address}"' for one in chain]
        sink = sink.replace("{}", ", ".join(each)).format(*each)
        flow = self._flow(name, f"web : {source} | {sink} ;")
        state = self.directory / "state" if state is None else state
        metrics_port = free_port()
        arguments = ["agent", str(flow), "--name", name, "--state-dir", str(state)]
        arguments += ["--metrics", str(metrics_port)]
        made = Agent(name, arguments, self._log(name), tune or {}, metrics_port=metrics_port)
        self.daemons.append(made)
        return made

    def daemon(self, name: str, arguments: list[str], tune: Mapping[str, float] | None = None) -> Daemon:
        """Any other `qanat` program; not started."""
        made = Daemon(name, arguments, self._log(name), tune or {})
        self.daemons.append(made)
        return made

    def start(self) -> None:
        """Start whoever does not run, collectors first."""
        for daemon in sorted(self.daemons, key=lambda each: not isinstance(each, Collector)):
            if not daemon.is_running:
                daemon.start()

    def stop(self) -> None:
        """SIGTERM in order: agents drain, then collectors commit and publish. Raises DaemonError unless all exit 0."""
        for daemon in sorted(self.daemons, key=lambda each: isinstance(each, Collector)):
            if daemon.is_running and (code := daemon.stop()) != 0:
                raise daemon.failed(f"exited with {code} on SIGTERM")

    def wait_until(self, condition: Callable[[], object], what: str, seconds_max: float = WAIT_S_MAX) -> None:
        """*Blocking* until `condition()`. Raises DaemonError, at once when a program ended that nobody killed."""

        def holds() -> object:
            self.check()
            return condition()

        wait_until(holds, what, seconds_max)

    def wait_until_stored(self, wanted_bytes: int, seconds_max: float = WAIT_S_MAX) -> None:
        """Until the published files, all of them raw, hold exactly so much. Raises DaemonError."""

        def holds() -> bool:
            found = stored_bytes(self.out)
            if found > wanted_bytes:
                raise DaemonError(
                    f"{found} bytes are stored below {self.out}, more than the {wanted_bytes} written"
                )
            return found == wanted_bytes

        self.wait_until(holds, f"{wanted_bytes} bytes below {self.out}", seconds_max)

    def check(self) -> None:
        """Raises DaemonError when a program has ended by itself."""
        for daemon in self.daemons:
            if daemon.exit_code not in (None, 0, -signal.SIGKILL):
                raise daemon.failed(f"ended by itself, with {daemon.exit_code}")

    def _flow(self, name: str, text: str) -> Path:
        path = self.directory / "flows" / f"{name}.flow"
        path.write_text(text + "\n", encoding="utf-8")
        return path

    def _log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.txt"


def stored_bytes(root: Path) -> int:
    """Size of everything published below `root`: with raw files, of all events with their line ends."""
    return sum(path.stat().st_size for path in published(root))


def published(root: Path) -> list[Path]:
    """Files under their final names, sorted."""
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def temporary(root: Path) -> list[Path]:
    """Files that a sink has not finished, without those that were set aside: it will not."""
    return sorted(
        path for path in root.rglob("*.tmp") if not any(part.startswith("set-aside-") for part in path.parts)
    )


def written_bytes(root: Path) -> int:
    """Size of what is in a sink's files, committed or not, visible or not."""
    return sum(path.stat().st_size for path in _data(root))


def written_lines(root: Path) -> int:
    """Line ends in a sink's raw files, committed or not, visible or not."""
    return sum(path.read_bytes().count(b"\n") for path in _data(root))


def _data(root: Path) -> list[Path]:
    return published(root) + temporary(root)


def ledger(root: Path, pattern: str, first: int | None = None, last: int | None = None) -> Report:
    """What `qanat verify` counts."""
    from qanat.ledger.account import Expectation
    from qanat.ledger.extract import Extractor
    from qanat.ledger.verify import verify

    return verify([root], Extractor(pattern), Expectation(first, last))
