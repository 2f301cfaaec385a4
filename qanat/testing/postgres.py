"""A real PostgreSQL server on a loopback port, with what happens to servers as verbs.

    with Postgres(directory) as server:
        url = server.database("mine")   # and server.password
        server.kill()
        server.start()

The programs come from Debian's `postgresql` package, or from PATH. PostgreSQL refuses to run as root, so then it runs as the
package's user, in a directory of its own outside `directory`, which that user could not reach.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from qanat.testing.cluster import LOOPBACK, free_port
from qanat.testing.daemon import DaemonError, wait_until

USER = "qanat"
_PACKAGES = Path("/usr/lib/postgresql")
_RUN_AS = "postgres"

# A server that was told to end at once: it waits for nobody, but the disk may be slow.
END_S_MAX = 10.0

# Small and fast rather than durable: the machine does not lose power during a test, and a killed process loses nothing that
# it had given to the kernel.
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "autovacuum": "off",
    "unix_socket_directories": "",
    "listen_addresses": LOOPBACK,
    # In its directory, which goes: what is in /dev/shm would outlive a server that was killed.
    "dynamic_shared_memory_type": "mmap",
}


def programs() -> Path:
    """The directory of the server's programs. Raises DaemonError that says what to install."""
    packaged = sorted(_PACKAGES.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    found = packaged[-1] if packaged else shutil.which("postgres")
    if found is None:
        raise DaemonError("there is no PostgreSQL; on Debian install the package postgresql (make servers)")
    return Path(found).resolve().parent


class Postgres:
    """One server, started as often as wanted; all its lives log to `<directory>/postgres.log`."""

    def __init__(self, directory: Path) -> None:
        self.log = directory / "postgres.log"
        self.password = "only for tests: " + directory.name
        self.port = free_port()
        self._programs = programs()
        self._home = Path(tempfile.mkdtemp(prefix="qanat-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._databases: set[str] = set()

    def __enter__(self) -> Postgres:
        try:
            self._initialise()
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def start(self) -> None:
        """Begin a life; *blocking* until it answers."""
        assert self._process is None, "the server runs already"
        settings = [f"--{name.replace('_', '-')}={value}" for name, value in _SETTINGS.items()]
        command = [self._program("postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                _as_user(command),
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, f"PostgreSQL to answer; see {self.log}")

    def kill(self) -> None:
        """SIGKILL to the server and every process of it, and wait until all are gone."""
        process, self._process = self._process, None
        if process is None:
            return
        family = [process.pid, *_children(process.pid)]
        for pid in family:
            _signal(pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not any(map(_is_running, family)), "the processes of PostgreSQL to end")

    def pause(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """End what `pause` began."""
        self._signal_all(signal.SIGCONT)

    def database(self, name: str) -> str:
        """URL, without the password, of a place that is empty when it is first asked for: a schema, which is made sooner
        than a database, as the search path."""
        if name not in self._databases:
            where = ["-q", "-h", LOOPBACK, "-p", str(self.port), "-U", USER, "-d", "postgres"]
            create = [self._program("psql"), *where, "-c", f"CREATE SCHEMA {name}"]
            self._run(create, {"PGPASSWORD": self.password})
            self._databases.add(name)
        return f"postgresql://{USER}@{LOOPBACK}:{self.port}/postgres?options=-csearch_path%3D{name}"

    # Inside.

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _program(self, name: str) -> str:
        return str(self._programs / name)

    def _initialise(self) -> None:
        secret = self._home / "password"
        secret.write_text(self.password + "\n")
        if os.geteuid() == 0:
            for path in (self._home, secret):
                shutil.chown(path, _RUN_AS)
        how = ["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256", f"--username={USER}"]
        self._run([self._program("initdb"), "-D", str(self._data), f"--pwfile={secret}", *how], {})

    def _run(self, command: Sequence[str], environment: dict[str, str]) -> None:
        ended = subprocess.run(
            _as_user(command),
            cwd=self._home,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise DaemonError(f"{command[0]} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise DaemonError(f"PostgreSQL ended by itself: {self.log}:\n{self.log.read_text()[-2000:]}")
        ready = [self._program("pg_isready"), "-q", "-h", LOOPBACK, "-p", str(self.port)]
        try:
            socket.create_connection(
                (LOOPBACK, self.port), timeout=1.0
            ).close()  # cheaper than a program that fails
        except OSError:
            return False
        return subprocess.run(ready, check=False).returncode == 0

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None, "the server does not run"
        for pid in [self._process.pid, *_children(self._process.pid)]:
            _signal(pid, number)

    def _remove(self) -> None:
        """A clean end first: one that is killed leaves its segment of shared memory to the kernel."""
        if self._process is not None:
            self.resume()
            _signal(self._process.pid, signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S_MAX)
                self._process = None
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


def _as_user(command: Sequence[str]) -> list[str]:
    """With the rights that PostgreSQL wants."""
    if os.geteuid() != 0:
        return [*command]
    return ["setpriv", "--reuid", _RUN_AS, "--regid", _RUN_AS, "--init-groups", *command]


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _is_running(pid: int) -> bool:
    """A zombie, which waits for whoever is its parent now, is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
