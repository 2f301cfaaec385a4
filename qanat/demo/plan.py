"""What the demo runs: its directory, its programs, their ports and command lines."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qanat.cli.ports import free_ports
from qanat.errors import ConfigError
from qanat.flow.local import LOOPBACK
from qanat.limits import GIB

AGENTS = ("a1", "a2")
COLLECTORS = ("c1", "c2")
ADDED = "c3"  # a collector that comes later
# The collectors' logical nodes: what stores the demo's own files, and what stores the logs of this machine.
BUSY_SINK, LOGS_SINK = "coll", "keep"

LINE_BYTES = 110  # a short access log line
RATE_EVENTS_S = (
    20_000  # of each busy file: many, yet little enough that a slow machine with a small disk keeps up
)
ROTATE_S = 6.0  # often enough that some rotation meets every failure, seldom enough to read the names

# Input and output of a full run together are 400 MB; a run that fills somebody's disk is no demonstration.
DISK_BYTES_MIN = 1 * GIB

TITLES = {"m": "master", "c": "collector", "a": "agent"}


def title(name: str) -> str:
    """`collector c1`."""
    return f"{TITLES[name[0]]} {name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything is. `logs` are the real files that each agent tails, `rpc` where a program listens, `http` where it
    shows its metrics."""

    root: Path
    logs: dict[str, Sequence[Path]]
    masters: tuple[str, ...]
    rpc: dict[str, int]
    http: dict[str, int]
    store_url: str

    @property
    def written(self) -> Path:
        return self.root / "app"

    @property
    def stored(self) -> Path:
        return self.root / "stored"

    @property
    def programs(self) -> tuple[str, ...]:
        """In the order in which they are started; the reverse is a good one to stop them."""
        return (*self.masters, *COLLECTORS, ADDED, *AGENTS)

    @property
    def master_addresses(self) -> str:
        """As --master and QANAT_MASTER say it."""
        return ",".join(f"{LOOPBACK}:{self.rpc[name]}" for name in self.masters)

    @property
    def senders(self) -> dict[str, str]:
        """By agent: the name under which collectors know its busy file."""
        return {agent: f"{agent}/web{agent[1:]}" for agent in AGENTS}

    @property
    def log_senders(self) -> list[str]:
        """The same, for logs of this machine."""
        return [f"{agent}/logs{agent[1:]}" for agent in AGENTS if self.logs[agent]]

    def busy(self, agent: str) -> Path:
        """The busy file that `agent` tails."""
        return self.written / f"busy-{agent[1:]}.log"

    def flow(self, name: str) -> Path:
        """A file for `qanat apply`."""
        return self.root / f"{name}.flow"

    def log(self, program: str) -> Path:
        return self.root / "logs" / f"{program}.txt"

    def arguments(self, program: str) -> list[str]:
        """The command line of a program."""
        tier, listen = TITLES[program[0]], f"{LOOPBACK}:{self.rpc[program]}"
        own = ["--log-format", "text", tier]
        if tier == "master":
            return [
                *own,
                "--id",
                program,
                "--store",
                self.store_url,
                "--listen",
                listen,
                "--http",
                str(self.http[program]),
            ]
        own += ["--name", program, "--master", self.master_addresses]
        own += ["--state-dir", str(self.root / "state"), "--metrics", str(self.http[program])]
        return [*own, "--store", self.store_url, "--listen", listen] if tier == "collector" else own

    def create(self) -> None:
        """Directories and flow files."""
        from qanat.demo import flows

        for name in ("app", "logs", "state", "stored"):
            (self.root / name).mkdir(exist_ok=True)
        for name, text in flows.files(self).items():
            self.flow(name).write_text(text, encoding="utf-8")


def prepare(root: Path, logs: Sequence[Path], masters: int = 2, store_url: str = "") -> Plan:
    """A plan with free ports, in a new directory. `store_url`: embedded unless given."""
    names = tuple(f"m{number}" for number in range(1, masters + 1))
    programs = (*names, *COLLECTORS, ADDED, *AGENTS)
    with ExitStack() as stack:  # all are held until all are chosen, so that no two are the same
        ports = free_ports(stack)
        rpc = {name: next(ports) for name in programs}
        http = {name: next(ports) for name in programs}
    plan = Plan(
        root,
        {agent: logs[turn :: len(AGENTS)] for turn, agent in enumerate(AGENTS)},
        names,
        rpc,
        http,
        store_url or f"embedded:{root / 'state' / 'store.db'}",
    )
    plan.create()
    return plan


def directory(wanted: Path | None) -> Path:
    """A new or empty one with room. Raises ConfigError."""
    try:
        if wanted is None:
            root = Path(tempfile.mkdtemp(prefix="qanat-demo-"))
        else:
            root = wanted.absolute()
            root.mkdir(parents=True, exist_ok=True)
            if any(root.iterdir()):
                raise ConfigError(f"--dir {wanted} is not empty; name a new directory, or remove it first")
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise ConfigError(f"the demo's directory can't be used: {error}; choose one with --dir") from error
    if "%" in str(root):
        raise ConfigError(f"--dir {root}: the file sink takes a % for an escape; choose another directory")
    if free < DISK_BYTES_MIN:
        if wanted is None:
            root.rmdir()
        raise ConfigError(
            f"{root} has {free / 1e9:.1f} GB free, the demo wants {DISK_BYTES_MIN / 1e9:.1f}; choose another disk with --dir"
        )
    return root
