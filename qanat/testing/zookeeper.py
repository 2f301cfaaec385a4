"""A real ZooKeeper ensemble on loopback ports, with what happens to servers as verbs.

    with Ensemble(directory) as ensemble:
        store = open_store(ensemble.url("/mine"))
        ensemble.kill(ensemble.leader())

The classes come from Debian's `zookeeper` package, or from where `ZOOKEEPER_JAR` says. Everything is below `directory`,
logs and data, and stays there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from qanat.testing.certificates import Certificate
from qanat.testing.cluster import LOOPBACK, free_port
from qanat.testing.daemon import DaemonError, wait_until

JAR_VARIABLE = "ZOOKEEPER_JAR"
_JARS = Path("/usr/share/java")

# What the package's zookeeper.jar names in its manifest is found by itself; a place to log to, and for TLS the rest of netty,
# it leaves to others.
_DEBIAN = ("zookeeper.jar", "slf4j-simple.jar", "netty-all.jar", "netty-codec.jar", "netty-resolver.jar",
           "netty-transport-native-unix-common.jar")  # fmt: skip

_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"

# A server needs 30 MB; three run beside the tests on two cores, and they should start fast rather than run fast.
_JVM = [
    *(
        "-Xmx128m",
        "-Xms32m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-XX:-UsePerfData",
    ),
    *("-Dzookeeper.nio.numSelectorThreads=1", "-Dzookeeper.nio.numWorkerThreads=2"),
    *("-Dzookeeper.commitProcessor.numWorkerThreads=1", "-Dzookeeper.preAllocSize=1024"),
    *("-Dzookeeper.cnxTimeout=1000", "-Dzookeeper.fastleader.maxNotificationInterval=1000"),
    *("-Dzookeeper.jmx.log4j.disable=true", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
]

# Servers notice after syncLimit ticks, 3 s, that another is stopped; shorter, and a loaded machine looks like a dead one.
_CONFIG = """\
tickTime=500
initLimit=20
syncLimit=6
minSessionTimeout=1000
maxSessionTimeout=60000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=srvr
standaloneEnabled=true
"""

# A JVM starts within two seconds on two idle cores, and the servers elect within one more.
_QUORUM_S_MAX = 60.0

# A server that is stopped answers nothing.
_ANSWER_S_MAX = 2.0


class Connected(Protocol):
    """What `Ensemble.expire` needs of a store."""

    @property
    def session_secret(self) -> tuple[int, bytes] | None:
        """Id and password of its session."""


def classpath() -> str:
    """Where the servers' classes are. Raises DaemonError that says what to install."""
    if shutil.which("java") is None:
        raise DaemonError("there is no java on PATH; on Debian install default-jre-headless (make servers)")
    if named := os.environ.get(JAR_VARIABLE):
        return named
    if not (_JARS / _DEBIAN[0]).exists():
        raise DaemonError(
            f"there is no ZooKeeper; on Debian install the package zookeeper (make servers), elsewhere set {JAR_VARIABLE}"
            " to its jar, or to a class path with what it needs"
        )
    return os.pathsep.join(str(_JARS / jar) for jar in _DEBIAN)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server runs: the address that it listens at, and what its command begins with (`ip netns exec zk1`)."""

    address: str = LOOPBACK
    prefix: Sequence[str] = ()


class Server:
    """One server, started as often as wanted; all its lives log to `<directory>/log`."""

    def __init__(self, directory: Path, number: int, config: str, place: Place) -> None:
        self.directory = directory
        self.place = place
        self.port = 0
        self._number = number
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, servers: Iterable[str], port: int, extra: Mapping[str, str]) -> None:
        """Write its files. `servers`: the lines that name all of them."""
        self.port = port
        self.directory.mkdir(parents=True)
        (self.directory / "data").mkdir()
        (self.directory / "data" / "myid").write_text(f"{self._number}\n")
        lines = [
            self._config,
            f"dataDir={self.directory / 'data'}",
            *servers,
            *(f"{k}={v}" for k, v in extra.items()),
        ]
        (self.directory / "zoo.cfg").write_text("\n".join(lines) + "\n")

    @property
    def is_running(self) -> bool:
        """Started and not killed, paused or not."""
        return self._process is not None

    def start(self) -> None:
        """Begin a life."""
        assert self._process is None, f"server {self._number} runs already"
        command = [
            *self.place.prefix,
            "java",
            *_JVM,
            "-cp",
            classpath(),
            _MAIN,
            str(self.directory / "zoo.cfg"),
        ]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Also ends one that is paused."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the process, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def mode(self) -> str | None:
        """`leader`, `follower` or `standalone`; None while it serves nobody."""
        if self._process is None:
            return None
        if self._process.poll() is not None:
            raise DaemonError(
                f"server {self._number} ended by itself: {self.directory / 'log'}:\n{self.log()}"
            )
        with contextlib.suppress(OSError):
            with socket.create_connection((self.place.address, self.port), _ANSWER_S_MAX) as connection:
                connection.settimeout(_ANSWER_S_MAX)
                connection.sendall(b"srvr")
                answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
            for line in answer.splitlines():
                if line.startswith("Mode: "):
                    return line.removeprefix("Mode: ")
        return None

    def log(self) -> str:
        """The end of what it has logged."""
        return (self.directory / "log").read_text(errors="replace")[-4000:]


class Ensemble:
    """`size` servers, started by `with` and killed at its end. Servers are numbered from 0.

    `tls`: of the servers, whose clients must have a certificate of the same authority. Plain ports stay open. `places`: one for
    each server, instead of all on loopback."""

    def __init__(
        self,
        directory: Path,
        *,
        size: int = 3,
        tls: Certificate | None = None,
        places: Sequence[Place] | None = None,
    ) -> None:
        self.directory = directory
        self.secure_ports: list[int] = []
        places = [Place()] * size if places is None else places
        size = len(places)
        self.servers = [
            Server(directory / f"server{number}", number, _CONFIG + _tls_config(tls), place)
            for number, place in enumerate(places, 1)
        ]
        ports = _distinct_ports(4 * size)
        client_ports = [next(ports) for _ in range(size)]
        lines = [
            f"server.{number}={place.address}:{next(ports)}:{next(ports)};{place.address}:{port}"
            for number, (place, port) in enumerate(zip(places, client_ports, strict=True), 1)
        ]
        for server, port in zip(self.servers, client_ports, strict=True):
            extra: dict[str, str] = {}
            if tls is not None:
                self.secure_ports.append(next(ports))
                extra["secureClientPort"] = str(self.secure_ports[-1])
                extra["secureClientPortAddress"] = server.place.address
            server.configure(lines if size > 1 else [f"clientPort={port}"], port, extra)

    def __enter__(self) -> Ensemble:
        try:
            for index in range(len(self.servers)):
                self.start(index)
            self.await_quorum()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill every server; idempotent."""
        for server in self.servers:
            server.kill()

    # Where.

    @property
    def hosts(self) -> str:
        """Every server's `host:port`, as in a URL."""
        return ",".join(f"{server.place.address}:{server.port}" for server in self.servers)

    def url(self, prefix: str = "", *, user: str = "", options: str = "session_timeout=4s") -> str:
        """For `open_store`."""
        return f"zookeeper://{user + '@' if user else ''}{self.hosts}{prefix}?{options}"

    def leader(self) -> int:
        """The number of the server that leads. Raises DaemonError when none does."""
        for index, server in enumerate(self.servers):
            if server.mode() in ("leader", "standalone"):
                return index
        raise DaemonError(f"none of the servers in {self.directory} leads")

    def await_quorum(self, seconds_max: float = _QUORUM_S_MAX) -> None:
        """Wait until a leader, and a majority with it, serve clients."""
        wait_until(self.has_quorum, f"a quorum of the ZooKeeper servers in {self.directory}", seconds_max)

    def has_quorum(self) -> bool:
        """A leader, and a majority with it, serve clients. Raises DaemonError when a server has ended by itself."""
        modes = [mode for server in self.servers if (mode := server.mode()) is not None]
        return len(modes) > len(self.servers) // 2 and ("leader" in modes or "standalone" in modes)

    # Faults.

    def start(self, index: int) -> None:
        """Start it, for the first time or again, with the data that it has. Returns before it serves."""
        self.servers[index].start()

    def kill(self, index: int) -> None:
        """SIGKILL."""
        self.servers[index].kill()

    def pause(self, index: int) -> None:
        """SIGSTOP: it keeps its connections, and answers nothing."""
        self.servers[index].signal(signal.SIGSTOP)

    def resume(self, index: int) -> None:
        """SIGCONT."""
        self.servers[index].signal(signal.SIGCONT)

    def expire(self, store: Connected) -> None:
        """End the session of a connected store as if it had timed out; when this returns, its ephemeral nodes are gone.

        By continuing it on a second connection, and closing it there."""
        assert store.session_secret is not None, "the store has no session now"
        session_id, password = store.session_secret
        connect = struct.pack(">iqiqi", 0, 0, 4000, session_id, len(password)) + password + b"\0"
        close = struct.pack(">ii", 1, -11)
        leader = self.servers[self.leader()]
        with socket.create_connection((leader.place.address, leader.port), _ANSWER_S_MAX) as connection:
            connection.settimeout(_ANSWER_S_MAX)
            connection.sendall(struct.pack(">i", len(connect)) + connect)
            connection.recv(4096)
            connection.sendall(struct.pack(">i", len(close)) + close)
            while connection.recv(4096):  # the server closes it once the session is closed
                pass


def _tls_config(tls: Certificate | None) -> str:
    if tls is None:
        return ""
    return (
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n"
        f"ssl.keyStore.location={tls.both}\nssl.keyStore.type=PEM\n"
        f"ssl.trustStore.location={tls.ca}\nssl.trustStore.type=PEM\n"
        "ssl.clientAuth=need\nssl.hostnameVerification=false\n"
    )


def _distinct_ports(count: int) -> Iterator[int]:
    ports: dict[int, None] = {}
    while len(ports) < count:
        ports[free_port()] = None
    return iter(ports)
