"""What the demo runs: its directory, its nodes, their flow files and ports."""

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
from qanat.flow.strings import quote
from qanat.limits import GIB

AGENTS = ("a1", "a2")
COLLECTORS = ("c1", "c2")
NODES = ("busy", "logs")  # logical nodes: what the demo writes, and what this machine writes

LINE_BYTES = 110  # a short access log line
RATE_EVENTS_S = (
    20_000  # of each busy file: many, yet little enough that a slow machine with a small disk keeps up
)
ROTATE_S = 6.0  # often enough that some rotation meets every failure, seldom enough to read the names

# Input and output of a full run together are 350 MB; a run that fills somebody's disk is no demonstration.
DISK_BYTES_MIN = 1 * GIB


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything is. `logs` are the real files that each agent tails."""

    root: Path
    logs: dict[str, Sequence[Path]]
    ports: dict[tuple[str, str], int]  # (collector, logical node)
    metrics: dict[str, int]

    @property
    def written(self) -> Path:
        return self.root / "app"

    @property
    def stored(self) -> Path:
        return self.root / "stored"

    @property
    def store_url(self) -> str:
        return f"embedded:{self.root / 'state' / 'store.db'}"

    def busy(self, agent: str) -> Path:
        """The busy file that `agent` tails."""
        return self.written / f"busy-{agent[1:]}.log"

    def log(self, program: str) -> Path:
        return self.root / "logs" / f"{program}.txt"

    def nodes(self, agent: str) -> tuple[str, ...]:
        """The logical nodes that `agent` runs."""
        return NODES if self.logs[agent] else NODES[:1]

    def arguments(self, program: str) -> list[str]:
        """The command line of an agent or a collector."""
        tier = "agent" if program in AGENTS else "collector"
        store = ["--store", self.store_url] if program in COLLECTORS else []
        return ["--log-format", "text", tier, str(self._flow(program)), "--name", program,
                "--state-dir", str(self.root / "state"), "--metrics", str(self.metrics[program]), *store]  # fmt: skip

    def create(self) -> None:
        """Directories and flow files."""
        for name in ("app", "flows", "logs", "state", "stored"):
            (self.root / name).mkdir()
        for agent in AGENTS:
            self._flow(agent).write_text(self._agent_flow(agent), encoding="utf-8")
        for collector in COLLECTORS:
            self._flow(collector).write_text(self._collector_flow(collector), encoding="utf-8")

    def _flow(self, program: str) -> Path:
        return self.root / "flows" / f"{program}.flow"

    def _agent_flow(self, agent: str) -> str:
        # Each agent prefers another collector, so that both have work, and one's death moves one agent.
        chain = COLLECTORS if agent == AGENTS[0] else COLLECTORS[::-1]
        # The application is known to write nothing to a file that it has renamed, so that half a second is plenty.
        paths = {"busy": [self.busy(agent)], "logs": self.logs[agent]}
        return "".join(
            f"{node} : tail({', '.join(quote(str(path)) for path in paths[node])}, rotate_wait=500ms)\n"
            f"  | agentE2EChain({', '.join(quote(f'{LOOPBACK}:{self.ports[each, node]}') for each in chain)}) ;\n"
            for node in self.nodes(agent)
        )

    def _collector_flow(self, collector: str) -> str:
        source = {
            node: f"collectorSource({self.ports[collector, node]}, {quote(LOOPBACK)})" for node in NODES
        }
        busy, logs = quote(f"{self.stored}/busy/"), quote(f"{self.stored}/logs/")
        return (
            f"busy : {source['busy']}\n  | file({busy}, roll=10s) ;\n"
            f'logs : {source["logs"]}\n  | file({logs}, format="json", roll=10s) ;\n'
        )


def prepare(directory: Path | None, logs: Sequence[Path]) -> Plan:
    """A plan with free ports, in a new directory. Raises ConfigError."""
    root = _directory(directory)
    wanted = [*((collector, node) for collector in COLLECTORS for node in NODES)]
    with ExitStack() as stack:  # all are held until all are chosen, so that no two are the same
        ports = free_ports(stack)
        numbers = [next(ports) for _ in range(len(wanted) + len(AGENTS) + len(COLLECTORS))]
    plan = Plan(
        root,
        {agent: logs[turn :: len(AGENTS)] for turn, agent in enumerate(AGENTS)},
        dict(zip(wanted, numbers, strict=False)),
        dict(zip((*AGENTS, *COLLECTORS), numbers[len(wanted) :], strict=True)),
    )
    plan.create()
    return plan


def _directory(wanted: Path | None) -> Path:
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
