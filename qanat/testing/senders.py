"""Debian's syslog senders as processes of a test, on private configuration: rsyslog and syslog-ng.

`tests/servers.sh syslog` unpacks them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from qanat.testing.daemon import DaemonError, wait_until

# Where tests/servers.sh puts them.
DIRECTORY = Path(
    os.environ.get("QANAT_SENDERS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qanat" / "senders"
)

# Senders stop within milliseconds; one that does not is killed.
STOP_S_MAX = 10.0


def program(name: str) -> Path:
    """`rsyslogd` or `syslog-ng`. Raises DaemonError when it is not there."""
    found = DIRECTORY / "usr" / "sbin" / name
    if not found.exists():
        raise DaemonError(f"no {name} below {DIRECTORY}; run: sh tests/servers.sh syslog")
    return found


def _libraries(pattern: str) -> Path:
    """The directory of the libraries (modules) whose names match."""
    found = sorted(DIRECTORY.glob(f"usr/lib/**/{pattern}"))
    if not found:
        raise DaemonError(f"no {pattern} below {DIRECTORY}; remove it, and run: sh tests/servers.sh syslog")
    return found[0].parent


@contextlib.contextmanager
def running(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process; ended with the block."""
    places = {library.parent for library in DIRECTORY.glob("**/lib*.so*")}
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(sorted(map(str, places)))}
    with (
        log.open("ab") as out,
        subprocess.Popen(arguments, stdout=out, stderr=out, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def rsyslog(directory: Path, target: str, source: Path) -> Iterator[None]:
    """Sends the lines of the file `source`. `target`: the parameters of its action omfwd."""
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "rsyslog.conf"
    configuration.write_text(
        f'global(workDirectory="{directory}")\n'
        f'module(load="imfile")\ninput(type="imfile" File="{source}" Tag="app:" Facility="local3" Severity="err")\n'
        f'action(type="omfwd" {target} action.resumeRetryCount="-1" action.resumeInterval="1"'
        ' queue.type="LinkedList" queue.saveOnShutdown="off")\n'
    )
    modules = _libraries("imfile.so")
    arguments = [
        str(program("rsyslogd")),
        "-n",
        "-f",
        str(configuration),
        "-i",
        str(directory / "pid"),
        "-M",
        str(modules),
    ]
    with running(arguments, directory / "log"):
        yield


@contextlib.contextmanager
def syslog_ng(directory: Path, target: str, source: Path) -> Iterator[None]:
    """Sends the lines of the file `source`. `target`: its destination driver."""
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "syslog-ng.conf"
    configuration.write_text(
        "@version: 3.38\n"
        "options { time-reopen(1); };\n"
        f'source s {{ file("{source}" flags(no-parse) program-override("app")); }};\n'
        f"destination d {{ {target}; }};\n"
        "log { source(s); destination(d); flags(flow-control); };\n"
    )
    arguments = [
        str(program("syslog-ng")), "--foreground", "--no-caps", "--stderr", "--cfgfile", str(configuration),
        "--persist-file", str(directory / "persist"), "--pidfile", str(directory / "pid"),
        "--control", str(directory / "control"), "--module-path", str(_libraries("libafsocket.so")),
    ]  # fmt: skip
    with running(arguments, directory / "log") as process:
        wait_until(
            lambda: process.poll() is not None or (directory / "control").exists(), "syslog-ng to start"
        )
        yield
