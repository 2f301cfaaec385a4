"""Hosts on this machine: each a network namespace with an address, a name and disks of its own, and a cable that can be pulled.

    check()
    with Network(directory) as network:
        h1, h2 = network.host("h1"), network.host("h2")
        h1.run("ping", "-c", "1", "h2")
        h1.cut()

For root, on Linux with iproute2. Nothing of the machine's own network is touched: hosts hang on a bridge that is in a
namespace too; the machine itself gets one more interface, with an address among theirs, from which it reaches all of them.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from qanat.testing.daemon import Daemon, DaemonError

_NEW_NETWORK = 0x4000_0000  # CLONE_NEWNET, <linux/sched.h>
_ETC = Path("/etc/netns")  # where `ip netns exec` takes a namespace's /etc/hosts from
_OWN = re.compile(r"qanat-(\d+)-")
_BRIDGE = "hosts"

# 198.18.0.0/15 is for tests of networks (RFC 2544): nothing else routes it. A third part for each network.
_SUBNET = "198.18.{}"
_SUBNETS = 256
_HOSTS_MAX = 250  # and 254 is the machine's own
_ADMIN_HOST = 254

# `ip` answers at once; one that hangs is a kernel that does.
_IP_S_MAX = 30.0

# A host's name, and its own directories in the places that all hosts have in common. It ends as the command itself: signals
# to its process id reach it.
_ENTER = """\
echo "$0" > /proc/sys/kernel/hostname || exit 126
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 126; shift 2; done
shift
exec "$@"
"""


class NoNamespacesError(DaemonError):
    """There can be no hosts here. `is_installable`: it would do to install something."""

    def __init__(self, message: str, *, is_installable: bool = False) -> None:
        super().__init__(message)
        self.is_installable = is_installable


def check() -> None:
    """Raises NoNamespacesError, which says why there can be no hosts here."""
    if os.geteuid() != 0:
        raise NoNamespacesError("network namespaces are for root")
    unshare = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({_NEW_NETWORK}) != 0)"
    if subprocess.run([sys.executable, "-c", unshare], capture_output=True).returncode:
        raise NoNamespacesError("the kernel, or the container, refuses network namespaces")
    missing = [name for name in ("ip", "unshare", "mount") if shutil.which(name) is None]
    if missing:
        raise NoNamespacesError(
            f"there is no {', '.join(missing)}; on Debian install iproute2, util-linux and mount (make servers)",
            is_installable=True,
        )
    try:
        with Network(Path("/nonexistent")):
            pass
    except DaemonError as error:
        raise NoNamespacesError(f"network namespaces can't be connected here: {error}") from error


@dataclass(frozen=True, slots=True)
class Host:
    """`address`: by which all others reach it; its name does as well, from other hosts."""

    name: str
    address: str
    namespace: str
    switch: str
    port: str  # of the switch, where its cable is
    prefix: Sequence[str]

    def cut(self) -> None:
        """Nothing reaches it, and nothing of it reaches others, until `heal`. Nobody is told: packets vanish."""
        _ip("-n", self.switch, "link", "set", self.port, "nomaster")

    def heal(self) -> None:
        """As it was."""
        _ip("-n", self.switch, "link", "set", self.port, "master", _BRIDGE)

    def pull(self) -> None:
        """The cable itself: unlike with `cut`, the host's own kernel sees that the link is down."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def plug(self) -> None:
        """As it was."""
        _ip("-n", self.switch, "link", "set", self.port, "up")

    def run(self, *command: str) -> str:
        """What a command prints there. Raises DaemonError when it fails."""
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise DaemonError(f"{' '.join(command)} on {self.name}: {done.returncode}: {done.stderr}")
        return done.stdout


@dataclass(slots=True)
class HostDaemon(Daemon):
    """A `qanat` program on a host."""

    prefix: Sequence[str] = ()

    def _command(self) -> list[str]:
        return [*self.prefix, *Daemon._command(self)]


@dataclass(slots=True)
class Network:
    """A context manager: no namespace of it is left after the block, but whatever runs in one lives until it is ended.

    `shared`: places that are another directory on each host, `<directory>/<place>/<host>`."""

    directory: Path
    shared: Mapping[Path, str] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    _subnet: str = ""
    _tag: str = ""
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Network:
        _sweep()
        number = _free_subnet()
        self._subnet, self._tag = _SUBNET.format(number), f"qanat-{os.getpid()}-{number}"
        with contextlib.ExitStack() as undo:
            switch = self._namespace(undo, "switch")
            _ip("-n", switch, "link", "add", _BRIDGE, "type", "bridge")
            _ip("-n", switch, "link", "set", _BRIDGE, "up")
            own = f"qanat{number}"
            _ip("link", "add", own, "type", "veth", "peer", "name", "machine", "netns", switch)
            undo.callback(_ip, "link", "delete", own)
            _ip("-n", switch, "link", "set", "machine", "master", _BRIDGE, "up")
            _ip("address", "add", f"{self._subnet}.{_ADMIN_HOST}/24", "dev", own)
            _ip("link", "set", own, "up")
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def host(self, name: str) -> Host:
        """A new one, connected to all others."""
        number = len(self.hosts) + 1
        if number > _HOSTS_MAX:
            raise DaemonError(f"more than {_HOSTS_MAX} hosts")
        namespace, switch, port = self._namespace(self._undo, name), f"{self._tag}-switch", f"port{number}"
        _ip("link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", port, "netns", switch)
        _ip("-n", switch, "link", "set", port, "master", _BRIDGE, "up")
        _ip("-n", namespace, "address", "add", f"{self._subnet}.{number}/24", "dev", "eth0")
        for link in ("eth0", "lo"):
            _ip("-n", namespace, "link", "set", link, "up")
        made = Host(name, f"{self._subnet}.{number}", namespace, switch, port, self._prefix(name, namespace))
        self.hosts[name] = made
        self._write_names()
        return made

    def disk(self, name: str, place: str) -> Path:
        """Where the host's own directory is, seen from outside."""
        return self.directory / place / name

    def _prefix(self, name: str, namespace: str) -> tuple[str, ...]:
        mounts: list[str] = []
        for where, place in self.shared.items():
            own = self.disk(name, place)
            own.mkdir(parents=True, exist_ok=True)
            where.mkdir(parents=True, exist_ok=True)
            mounts += [str(own), str(where)]
        enter = ("ip", "netns", "exec", namespace, "unshare", "--uts", "sh", "-c", _ENTER, name)
        return (*enter, *mounts, "--")

    def _write_names(self) -> None:
        """In place: a running program sees the same file."""
        lines = ["127.0.0.1 localhost", *(f"{each.address} {each.name}" for each in self.hosts.values())]
        for each in self.hosts.values():
            (_ETC / each.namespace / "hosts").write_text("\n".join(lines) + "\n")

    def _namespace(self, undo: contextlib.ExitStack, name: str) -> str:
        namespace = f"{self._tag}-{name}"
        _ip("netns", "add", namespace)
        undo.callback(_remove, namespace)
        etc = _ETC / namespace
        etc.mkdir(parents=True, exist_ok=True)
        (etc / "resolv.conf").write_text("# nobody to ask: names are in hosts\n")
        return namespace


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=_IP_S_MAX)
    if done.returncode:
        raise DaemonError(f"ip {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _remove(namespace: str) -> None:
    with contextlib.suppress(DaemonError):
        _ip("netns", "delete", namespace)
    shutil.rmtree(_ETC / namespace, ignore_errors=True)


def _sweep() -> None:
    """What runs that were killed have left."""
    for namespace in _names():
        match = _OWN.match(namespace)
        if match is not None and not Path(f"/proc/{match[1]}").exists():
            _remove(namespace)


def _names() -> Iterator[str]:
    for line in _ip("netns", "list").splitlines():
        yield line.split()[0]


def _free_subnet() -> int:
    taken = _ip("-o", "-4", "address")
    for number in range(os.getpid() % _SUBNETS, os.getpid() % _SUBNETS + _SUBNETS):
        if f"{_SUBNET.format(number % _SUBNETS)}." not in taken:
            return number % _SUBNETS
    raise DaemonError(f"no free network in {_SUBNET.format('0.0/16')}")
