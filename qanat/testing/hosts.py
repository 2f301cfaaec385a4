"""A cluster over hosts: ZooKeeper and masters on some, collectors and agents on others, each reached by its own address.

    with Network(directory, shared(directory)) as network, HostsCluster(directory, network) as cluster:
        cluster.start_masters()
        cluster.node("collector", "c1").start()
        cluster.apply(FLOW)
        network.hosts["c1"].cut()

Every host has a disk of its own at `cluster.disk`, and collectors store at `cluster.data`, which is one, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from qanat.testing.daemon import Daemon
from qanat.testing.managed import ManagedCluster
from qanat.testing.namespaces import Host, HostDaemon, Network
from qanat.testing.zookeeper import Ensemble, Place

MASTERS = ("m1", "m2", "m3")
ADMIN = "admin"  # where commands are typed

# Long enough for hosts that are cut off to be noticed in a test, and no excuse for a busy machine to lose sessions.
SESSION = "session_timeout=6s"

_DISK, _DATA = "disk", "data"
_DISKS, _OUT = "hosts", "out"


def shared(directory: Path) -> dict[Path, str]:
    """For `Network`: the places that are another directory on each host."""
    return {directory / _DISK: _DISKS, directory / _DATA: _OUT}


class HostsCluster(ManagedCluster):
    """A context manager. Hosts are made as programs are: nothing listens on another host's behalf."""

    def __init__(self, directory: Path, network: Network) -> None:
        super().__init__(directory, masters=0)
        self.network = network
        self.disk, self.data = directory / _DISK, directory / _DATA
        places = [network.host(name) for name in MASTERS]
        self.ensemble = Ensemble(
            directory / "zookeeper", places=[Place(host.address, host.prefix) for host in places]
        )
        names = ",".join(
            f"{host.name}:{server.port}" for host, server in zip(places, self.ensemble.servers, strict=True)
        )
        self.store = f"zookeeper://{names}/qanat?{SESSION}"
        self.addresses = list(MASTERS)
        self.masters = [
            self.daemon(name, ["master", "--id", name, "--store", self.store, "--http", "0.0.0.0:35871"])
            for name in MASTERS
        ]
        self.shell = network.host(ADMIN).prefix
        self._ending_ensemble = contextlib.ExitStack()

    def __enter__(self) -> HostsCluster:
        super().__enter__()
        self._ending_ensemble.callback(self.ensemble.close)
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._ending_ensemble.close()

    @property
    def state(self) -> Path:
        """As each host sees its own."""
        return self.disk / "state"

    def start_masters(self) -> None:
        """And ZooKeeper before."""
        for index in range(len(self.ensemble.servers)):
            self.ensemble.start(index)
        self.ensemble.await_quorum()
        self.start()

    def node(
        self, role: str, name: str, /, *, tune: Mapping[str, float] | None = None, **labels: str
    ) -> Daemon:
        """An agent or a collector on a host of its own, at the port and the address that it finds itself; not started."""
        if name not in self.network.hosts:
            self.network.host(name)
        listen = ("--listen", "[::]:35853") if role == "collector" else ()  # the default
        return self.managed(role, name, *listen, tune=tune, **labels)

    def host(self, name: str) -> Host:
        """Where the node of that name runs."""
        return self.network.hosts[name]

    def on_disk(self, name: str, *parts: str) -> Path:
        """A path on a host's disk, as the machine sees it."""
        return self.network.disk(name, _DISKS).joinpath(*parts)

    def daemon(self, name: str, arguments: list[str], tune: Mapping[str, float] | None = None) -> Daemon:
        """On the host of that name."""
        made = HostDaemon(name, arguments, self._log(name), tune or {}, prefix=self.host(name).prefix)
        self.daemons.append(made)
        return made
