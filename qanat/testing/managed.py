"""Masters, and agents and collectors that they tell what to run, as real processes on this machine.

with ManagedCluster(directory, masters=2) as cluster:
    cluster.managed("collector", "c1")
    cluster.managed("agent", "a1", role="web")
    cluster.start()
    cluster.qanat("apply", "-", "--yes", "--wait", stdin=FLOW)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from qanat.testing.cluster import LOOPBACK, Cluster, free_port
from qanat.testing.daemon import Daemon, DaemonError

# A command that waits says itself when it takes too long; this is for one that hangs.
COMMAND_S_MAX = 150.0
# A master that is paused does not answer; the next one does.
HTTP_S_MAX = 10.0


class ManagedCluster(Cluster):
    """A context manager, like `Cluster`."""

    def __init__(self, directory: Path, masters: int = 1, store: str | None = None) -> None:
        super().__init__(directory, store)
        self.shell: Sequence[str] = ()  # what admin commands begin with
        self.addresses = [f"{LOOPBACK}:{free_port()}" for _ in range(masters)]
        self.http = [f"{LOOPBACK}:{free_port()}" for _ in range(masters)]
        self.masters = [self._master(number, address) for number, address in enumerate(self.addresses)]

    @property
    def state(self) -> Path:
        """Where programs keep their state; `<state>/<role>-<name>` is a node's own."""
        return self.directory / "state"

    def managed(
        self, role: str, name: str, /, *options: str, tune: Mapping[str, float] | None = None, **labels: str
    ) -> Daemon:
        """An agent or a collector; not started."""
        arguments = [role, "--master", ",".join(self.addresses), "--name", name]
        arguments += ["--state-dir", str(self.state), *options]
        arguments += [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
        if role == "collector":
            arguments += ["--store", self.store, "--commit-interval", "100ms"]
            arguments += [] if "--listen" in options else ["--listen", f"{LOOPBACK}:{free_port()}"]
        return self.daemon(name, arguments, tune)

    def qanat(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """What an admin command prints. Raises DaemonError when it fails and should not, or the reverse."""
        done = subprocess.run(
            [*self.shell, sys.executable, "-m", "qanat", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            env={**os.environ, "QANAT_MASTER": ",".join(self.addresses), "QANAT_CONFIG": "/nonexistent"},
        )
        if (done.returncode != 0) != fails:
            logs = "".join(f"\n{daemon.name}:\n{daemon.text()[-4000:]}" for daemon in self.daemons)
            raise DaemonError(
                f"qanat {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}{logs}"
            )
        return done.stdout + done.stderr if fails else done.stdout

    def apply(self, flow: str, *options: str) -> None:
        """Configure it, and wait until it is applied."""
        self.qanat("apply", "-", "--yes", "--wait", *options, stdin=flow)

    def status(self, *names: str) -> dict[tuple[str, str], dict[str, Any]]:
        """By physical and logical node; of any master, without a process for each look."""
        if self.shell:  # masters are where only commands can reach them
            reply = json.loads(self.qanat("status", "-o", "json", *names))
        else:
            reply = self._get(f"status?{urlencode({'names': names}, doseq=True)}")
        nodes = reply["nodes"]
        return {(each["name"], one["logical"]): one for each in nodes for one in each["logical"]}

    def start(self) -> None:
        """Start whoever does not run; the masters can be asked then."""
        super().start()
        for master in self.masters:
            master.wait_for("master_started")

    def stop(self) -> None:
        """SIGTERM in order: agents, collectors, masters. Raises DaemonError unless all exit 0."""
        order = ("agent", "collector", "master")
        for daemon in sorted(self.daemons, key=lambda each: order.index(each.arguments[0])):
            if daemon.is_running and (code := daemon.stop()) != 0:
                raise daemon.failed(f"exited with {code} on SIGTERM")

    def _get(self, path: str) -> dict[str, Any]:
        """What a master answers. Raises DaemonError when none does, or one refuses."""
        reasons = []
        for address in self.http:
            try:
                with urlopen(f"http://{address}/v1/{path}", timeout=HTTP_S_MAX) as reply:
                    return dict(json.load(reply))
            except HTTPError as error:
                raise DaemonError(
                    f"GET {path} of {address}: {error.code}: {error.read().decode()}"
                ) from error
            except OSError as error:
                reasons.append(f"{address}: {error}")
        raise DaemonError(f"GET {path}: {'; '.join(reasons)}")

    def _master(self, number: int, address: str) -> Daemon:
        http = ("--http", self.http[number])
        return self.daemon(
            f"m{number}",
            ["master", "--id", f"m{number}", "--store", self.store, "--listen", address, *http],
        )
