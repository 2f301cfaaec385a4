"""A real Apache Kafka broker (KRaft, one node) on loopback ports, with what happens to it as verbs.

    with Broker(directory) as broker:
        broker.create("topic", partitions=3)

The classes come from Maven: `sh tests/servers.sh kafka`. Everything is below `directory`, log and data, and stays there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType

from qanat.testing.cluster import LOOPBACK, free_port
from qanat.testing.daemon import DaemonError, wait_until

JARS = (
    Path(
        os.environ.get("QANAT_JARS")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qanat" / "jars"
    )
    / "kafka"
)

_JVM = ("-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")

# Any will do; the directory is formatted with it.
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"

# Segments of 64 KB, and everything looked at often, so that retention happens within a test.
_CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
num.partitions=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""

# A JVM with Kafka in it starts within five seconds on two idle cores.
_START_S_MAX = 120.0


class Broker:
    """Started with the block, killed with its end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        if shutil.which("java") is None or not list(JARS.glob("kafka_2.13-*.jar")):
            raise DaemonError(f"no Kafka in {JARS}; run: sh tests/servers.sh kafka")
        directory.mkdir(parents=True)
        config = _CONFIG.format(
            host=LOOPBACK, port=self.port, controller=free_port(), data=directory / "data"
        )
        (directory / "server.properties").write_text(config)
        self._java("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", self._properties).wait()

    @property
    def address(self) -> str:
        """As clients are told."""
        return f"{LOOPBACK}:{self.port}"

    def __enter__(self) -> Broker:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Begin a life, and wait until it answers."""
        assert self._process is None, "the broker runs already"
        self._process = self._java("kafka.Kafka", self._properties)
        wait_until(self._answers, f"Kafka in {self.directory}", _START_S_MAX)

    def kill(self) -> None:
        """SIGKILL; nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections, and answers nothing."""
        assert self._process is not None, "the broker does not run"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None, "the broker does not run"
        self._process.send_signal(signal.SIGCONT)

    @property
    def _properties(self) -> str:
        return str(self.directory / "server.properties")

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                ["java", *_JVM, "-cp", f"{JARS}/*", *arguments], stdout=log, stderr=log, cwd=self.directory
            )

    def _answers(self) -> bool:
        assert self._process is not None, "the broker does not run"
        if self._process.poll() is not None:
            raise DaemonError(f"Kafka has ended; its log is {self.directory / 'log'}")
        return (
            "Kafka Server started"
            in (self.directory / "log")
            .read_text(errors="replace")
            .rpartition("Kafka Server stopped")[2]
            .rpartition("starting (kafka.server")[2]
        )
