"""Nodes under masters get other flows while they, the collectors and the masters are killed and paused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field

from qanat.testing.cluster import LOOPBACK, free_port
from qanat.testing.managed import COMMAND_S_MAX, ManagedCluster
from tests.chaos.driver import IMPATIENT, SECONDS, Chaos, chaos

AGENTS = ("a1", "a2")
COLLECTORS = ("c1", "c2")
# Nothing of it changes a byte of what is stored, or may lose or double anything.
CHANNELS = ("", "", "fileChannel | ", "fileChannel(sync_interval=1ms) | ", "sqlChannel | ")
DECORATORS = ("", "", 'value("k", "v") ', 'value("k", "v") digest("sha256", "d") ')
READING = ("", ", poll_interval=50ms", ", poll_interval=1s")
ROLLING = ("roll=300ms", "roll=1s", "roll=300ms, roll_size=1MiB")
NO_MASTER = 3  # answered, or none of those asked reached the store: the exit code
PLACES = ("role=collector", "role=collector", "name=c1", "name=c2")


@dataclass(slots=True)
class Configuration:
    """What the cluster is to run, as a target: it is changed by commands, of which several may be under way."""

    trouble: Chaos
    cluster: ManagedCluster
    troubles: tuple[tuple[str, str], ...] = (("change", "leave"),)
    copies_port: int = field(default_factory=free_port)
    commands: list[subprocess.Popen[str]] = field(default_factory=list)

    def change(self) -> None:
        """One logical node, or all of them."""
        chance = self.trouble.chance
        lines = [self.agent(name) for name in AGENTS] + [self.collector()]
        command = subprocess.Popen(
            [sys.executable, "-m", "qanat", "apply", "-", "--yes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "QANAT_MASTER": ",".join(chance.sample(self.cluster.addresses, 2))},
        )
        self.commands.append(command)
        assert command.stdin is not None
        command.stdin.write("\n".join(chance.choice((lines, [chance.choice(lines)]))))
        command.stdin.close()
        command.stdin = None  # `communicate` does not want to write more

    def leave(self) -> None:
        """A change has no end."""

    def heal(self) -> None:
        """Every command has ended: with the change, or with a reason why not."""
        for command in self.commands:
            said, _ = command.communicate(timeout=COMMAND_S_MAX)
            print(f"apply: {command.returncode}: {said}")
            assert command.returncode in (0, NO_MASTER) or "changed meanwhile" in said, said
            assert "Traceback" not in said
        self.commands.clear()

    def agent(self, name: str) -> str:
        """Statement for a node of its own."""
        chance = self.trouble.chance
        options = f"rotate_wait=300ms{chance.choice(READING)}"
        source = f'tail("{self.trouble.input}/{name}-*.log", {options})'
        both = f'[ autoE2EChain, agentE2ESink("{LOOPBACK}", {self.copies_port}) ]'
        sinks = chance.choice(("autoE2EChain", "autoE2EChain", both))
        return f"web-{name} @ name={name} : {source} | {chance.choice(CHANNELS)}{chance.choice(DECORATORS)}{sinks} ;"

    def collector(self) -> str:
        """Statement for both of them or only one."""
        chance = self.trouble.chance
        sink = f'file("{self.cluster.out}", "web-", {chance.choice(ROLLING)})'
        copy = f'file("{self.cluster.directory}/copies", "copy-", roll=1s)'
        sinks = chance.choice((sink, sink, f"[ {sink}, {copy} ]", f"[ {copy}, {sink} ]"))
        return f"coll @ {chance.choice(PLACES)} : autoCollectorSource | {sinks} ;"

    def copies(self) -> str:
        """Statement for what else agents deliver to, sometimes; nobody counts what is there."""
        source = f'collectorSource({self.copies_port}, "{LOOPBACK}")'
        return f'copies @ name=c2 : {source} | file("{self.cluster.directory}/copies", "agents-", roll=1s) ;'


def test_everything_is_reconfigured_while_everything_is_killed():
    with chaos("reconfigured", masters=2) as trouble:
        cluster = trouble.cluster
        assert isinstance(cluster, ManagedCluster)
        for name in COLLECTORS:
            cluster.managed("collector", name, tune=IMPATIENT)
        for name in AGENTS:
            trouble.follow(cluster.managed("agent", name, tune=IMPATIENT))
        configuration = Configuration(trouble, cluster)
        cluster.start()
        statements = [*map(configuration.agent, AGENTS), configuration.collector(), configuration.copies()]
        cluster.apply("\n".join(statements))
        trouble.others |= {f"configuration-{number}": configuration for number in range(3)}
        with trouble.writing():
            trouble.torment(SECONDS)
        trouble.assert_exactly_once()
