"""Kills, stops and starts programs by a schedule that a seed determines, heals, and reads the ledger.

`QANAT_CHAOS_SECONDS` says how long the trouble lasts, `QANAT_CHAOS_SEED` repeats a schedule. The moments at which the
programs are hit differ from run to run all the same: they are real.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from qanat.testing.cluster import Cluster, Collector
from qanat.testing.daemon import Daemon
from qanat.testing.managed import ManagedCluster
from qanat.testing.zookeeper import Ensemble
from tests.chaos.writers import Log, Writers
from tests.integration.lines import assert_drains_clean
from tests.integration.tcp_proxy import TcpProxy

SECONDS = float(os.environ.get("QANAT_CHAOS_SECONDS", "10"))
# Backoffs in a row of troubles reach half a minute; two loaded cores also need their time.
HEAL_S_MAX = 150.0
# What half a minute of patience would keep rare: takeovers of the deaf (1.5 s), and returns to the preferred collector.
IMPATIENT = {
    "qanat.rpc.options.HEARTBEAT_S": 0.3,
    "agent.delivery.PROBE_S": 0.3,
}


@dataclass(frozen=True, slots=True)
class Step:
    """At `at_s` seconds: a verb of a target."""

    at_s: float
    verb: str
    name: str


# What can be done to a program or a server: how it begins and how it ends.
KILLS = ("kill", "start")
PAUSES = ("pause", "resume")
# To the ways of a network: connections are reset and refused, or stand still.
CUTS = ("cut_off", "mend")
STALLS = ("stand_still", "mend")


class Target(Protocol):
    """A daemon, a server, a way."""

    @property
    def troubles(self) -> tuple[tuple[str, str], ...]:
        """Names of methods that begin and end a trouble; likelier ones several times."""

    def heal(self) -> None:
        """Whatever was done to it."""


@dataclass(frozen=True, slots=True)
class Program:
    """A daemon as a target."""

    daemon: Daemon
    troubles: tuple[tuple[str, str], ...] = (KILLS, KILLS, PAUSES)

    def __getattr__(self, verb: str) -> Callable[[], None]:
        found: Callable[[], None] = getattr(self.daemon, verb)
        return found

    def heal(self) -> None:
        """Whoever was killed is started by the cluster."""
        self.daemon.resume()


@dataclass(frozen=True, slots=True)
class ZookeeperServer:
    """A server of an ensemble."""

    ensemble: Ensemble
    index: int
    troubles: tuple[tuple[str, str], ...] = (KILLS, PAUSES)

    def __getattr__(self, verb: str) -> Callable[[], None]:
        method = getattr(self.ensemble, verb)
        return lambda: method(self.index)

    def heal(self) -> None:
        """It runs."""
        if self.ensemble.servers[self.index].is_running:
            self.ensemble.resume(self.index)
        else:
            self.ensemble.start(self.index)


@dataclass(frozen=True, slots=True)
class Way:
    """Everything that one program says to others, and their answers: a partition when it is cut."""

    proxies: list[TcpProxy]
    troubles: tuple[tuple[str, str], ...] = (CUTS, STALLS)

    def cut_off(self) -> None:
        """Connections are reset and refused."""
        for proxy in self.proxies:
            proxy.refuse = True
            proxy.cut()

    def stand_still(self) -> None:
        """No byte moves: a network that swallows everything."""
        for proxy in self.proxies:
            proxy.stall = True

    def mend(self) -> None:
        """As before."""
        for proxy in self.proxies:
            proxy.refuse = proxy.stall = False

    heal = mend


def schedule(
    chance: random.Random, targets: Mapping[str, Target], seconds: float, mean_gap_s: float = 0.6
) -> list[Step]:
    """Troubles, each with its end, one at a time for each target."""
    steps: list[Step] = []
    names = list(targets)
    free_at = dict.fromkeys(names, 0.0)
    at_s = 0.0
    while (at_s := at_s + chance.expovariate(1 / mean_gap_s)) < seconds:
        name = chance.choice(names)
        if at_s < free_at[name]:
            continue
        begin, end = chance.choice(targets[name].troubles)
        length_s = chance.choice((0.0, chance.uniform(0, 1), chance.uniform(0, 4)))
        steps += [Step(at_s, begin, name), Step(at_s + length_s, end, name)]
        free_at[name] = at_s + length_s
    return sorted(steps, key=lambda step: step.at_s)


class Chaos:
    """A cluster, writers, and what is done to them."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster = cluster
        self.seed = seed
        self.chance = random.Random(seed)
        self.steps: list[Step] = []
        self.logs: list[Log] = []
        self.writers: Writers | None = None
        self.others: dict[str, Target] = {}  # beside the cluster's programs
        self.input = cluster.directory / "in"
        self.input.mkdir()

    # Building.

    def collector(
        self,
        name: str,
        out: Path | None = None,
        options: str = "roll=500ms",
        *,
        store: str | None = None,
        commits: tuple[str, ...] = ("5ms", "50ms", "200ms"),
    ) -> Collector:
        commit = self.chance.choice(commits)
        return self.cluster.collector(name, options, out=out, commit=commit, store=store, tune=IMPATIENT)

    def agent(self, name: str, *chain: Collector | str) -> Daemon:
        """An agent that tails two logs: one rotated by rename, one by new names."""
        source = f'tail("{self.input}/{name}-*.log", rotate_wait=300ms)'
        return self.follow(self.cluster.agent(name, source, *chain, tune=IMPATIENT))

    def follow(self, agent: Daemon) -> Daemon:
        """Write those logs for an agent."""
        self.logs += [Log(self.input, f"{agent.name}-{kind}", kind == "r", agent.log) for kind in "rc"]
        return agent

    @contextlib.contextmanager
    def writing(self, bytes_max: int = 1 << 40) -> Iterator[Writers]:
        self.cluster.start()
        self.writers = Writers(self.logs, self.seed, bytes_max)
        self.writers.start()
        try:
            yield self.writers
        finally:
            self.writers.finish()

    # Trouble.

    def torment(self, seconds: float, names: list[str] | None = None) -> None:
        """*Blocking* for that long."""
        targets: dict[str, Target] = {daemon.name: Program(daemon) for daemon in self.cluster.daemons}
        targets |= self.others
        if names is not None:
            targets = {name: targets[name] for name in names}
        steps = schedule(self.chance, targets, seconds)
        began = time.monotonic()
        for step in steps:
            time.sleep(max(0.0, began + step.at_s - time.monotonic()))
            self.steps.append(step)
            self.cluster.check()
            getattr(targets[step.name], step.verb)()
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    def heal(self) -> None:
        """Nobody is paused, and whoever was killed runs again; who ended by himself is an error."""
        for target in (*map(Program, self.cluster.daemons), *self.others.values()):
            target.heal()
        self.cluster.check()
        self.cluster.start()

    def settle(self) -> None:
        """Until all that was written is stored, and nothing more than that."""
        assert self.writers is not None
        self.heal()
        self.cluster.wait_until_stored(self.writers.bytes, HEAL_S_MAX)

    def assert_exactly_once(self) -> None:
        assert self.writers is not None
        self.settle()
        assert_drains_clean(self.cluster, self.writers.lines, len(self.writers.streams))

    def logged(self, text: str) -> bool:
        """In any life of any program."""
        return any(text in path.read_text(errors="replace") for path in self.cluster.directory.glob("logs/*"))


@contextlib.contextmanager
def chaos(test: str, masters: int = 0) -> Iterator[Chaos]:
    """A directory and a cluster of its own; both are gone afterwards, the directory only if all went well.

    With `masters` it is a ManagedCluster."""
    seed = int(os.environ.get("QANAT_CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))
    directory = Path(tempfile.mkdtemp(prefix="qanat-chaos-"))
    made: Chaos | None = None
    try:
        with ManagedCluster(directory, masters) if masters else Cluster(directory) as cluster:
            made = Chaos(cluster, seed)
            yield made
    except BaseException:
        _explain(test, seed, directory, made)
        raise
    shutil.rmtree(directory)


def _explain(test: str, seed: int, directory: Path, made: Chaos | None) -> None:
    print(f"\nseed {seed}; files and logs are kept in {directory}")
    print(
        f"again: QANAT_CHAOS_SEED={seed} QANAT_CHAOS_SECONDS={SECONDS:g} {sys.executable} -m pytest tests/chaos -k {test}"
    )
    for step in made.steps if made else []:
        print(f"  {step.at_s:7.3f} s  {step.verb:<6} {step.name}")
