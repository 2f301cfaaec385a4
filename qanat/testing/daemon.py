"""One `qanat` program as a process of its own, with what may happen to a process as verbs."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

POLL_S = 0.02  # soon enough for a person, rare enough for the programs that share the cores
# Two loaded cores may take seconds to start an interpreter; a wait costs nothing when what it waits for comes early.
WAIT_S_MAX = 60.0
# An agent drains for at most 10 s, a collector commits and closes.
STOP_S_MAX = 30.0


class DaemonError(AssertionError):
    """A program did what it should not have done, or not in time; the message ends with its log."""


def wait_until(condition: Callable[[], object], what: str, seconds_max: float = WAIT_S_MAX) -> None:
    """*Blocking* until `condition()` is true; a file or a key that is not there, or just went, is not yet.

    Raises DaemonError that says `what` was waited for."""
    deadline_s = time.monotonic() + seconds_max
    missing: Exception | None = None
    while True:
        try:
            if condition():
                return
        except (FileNotFoundError, KeyError) as error:
            missing = error
        if time.monotonic() > deadline_s:
            raise DaemonError(f"waited {seconds_max:.0f} s in vain for: {what}") from missing
        time.sleep(POLL_S)


@dataclass(slots=True)
class Daemon:
    """`qanat ARGUMENTS`, started as often as wanted. All its lives write to `log`.

    `tune` sets constants of the program (`{"agent.delivery.PROBE_S": 0.2}`) so that a test needn't wait for minutes.
    """

    name: str
    arguments: Sequence[str]
    log: Path
    tune: Mapping[str, float] = field(default_factory=dict)
    starts: int = 0
    process: subprocess.Popen[bytes] | None = None
    _begin: int = 0  # where in the log the present life begins

    def start(self) -> None:
        """Begin a life. Raises DaemonError when the last one has not ended."""
        if self.is_running:
            raise DaemonError(f"{self.name} runs already")
        self.starts += 1
        with self.log.open("ab") as file:
            self._begin = file.tell()
            self.process = subprocess.Popen(
                [*self._command(), "--log-format", "text", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C is for the test, which then stops its programs itself
            )

    def _command(self) -> list[str]:
        if not self.tune:
            return [sys.executable, "-m", "qanat"]
        lines = ["import sys"]
        for name, value in self.tune.items():
            module, _, constant = name.rpartition(".")
            lines += [
                f"import {module}",
                f"{module}.{constant}  # exists",
                f"{module}.{constant} = {value!r}",
            ]
        lines += ["from qanat.cli.main import main", "sys.exit(main())"]
        return [sys.executable, "-c", "\n".join(lines)]

    # Faults.

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone. Also ends one that is paused."""
        self._signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and locks, and does nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def terminate(self, seconds_max: float = WAIT_S_MAX) -> None:
        """SIGTERM, once it is more than a Python that starts; without waiting for its end. Raises DaemonError."""
        wait_until(self._heeds_sigterm, f"{self.name} to heed SIGTERM", seconds_max)
        self._signal(signal.SIGTERM)

    def _heeds_sigterm(self) -> bool:
        if not self.is_running or self.process is None:
            return True
        with contextlib.suppress(FileNotFoundError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = re.search(r"SigCgt:\s+(\w+)", status)
            return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
        return True

    def stop(self, seconds_max: float = STOP_S_MAX) -> int:
        """SIGTERM; the exit code. Raises DaemonError when it takes too long."""
        self.resume()
        self.terminate()
        return self.wait(seconds_max)

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    # What it does.

    @property
    def is_running(self) -> bool:
        """It was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As subprocess gives it (-9 after SIGKILL); None while it runs."""
        return None if self.process is None else self.process.poll()

    def text(self) -> str:
        """What the present life, or the last one, has logged."""
        data = self.log.read_bytes() if self.log.exists() else b""
        return data[self._begin :].decode(errors="replace")

    def wait(self, seconds_max: float = WAIT_S_MAX) -> int:
        """Until it ends by itself; the exit code. Raises DaemonError."""
        assert self.process is not None, f"{self.name} was never started"
        try:
            return self.process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            raise self.failed(f"has not ended within {seconds_max:.0f} s") from None

    def wait_for(self, text: str, seconds_max: float = WAIT_S_MAX) -> None:
        """Until this life has logged `text`. Raises DaemonError, at once when it ends without."""
        deadline_s = time.monotonic() + seconds_max
        while text not in self.text():
            if not self.is_running and text not in self.text():
                raise self.failed(f"ended with {self.exit_code} and did not log {text!r}")
            if time.monotonic() > deadline_s:
                raise self.failed(f"did not log {text!r} within {seconds_max:.0f} s")
            time.sleep(POLL_S)

    def failed(self, what: str) -> DaemonError:
        """An error that shows the log."""
        return DaemonError(f"{self.name} {what}; {self.log}:\n{self.text()[-8000:]}")

    # What it costs.

    @property
    def cpu_s(self) -> float:
        """User and system time of the present life so far."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_peak_mb(self) -> float:
        """Peak resident memory of the present life in MB (10^6 bytes)."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024 / 1e6


@contextlib.contextmanager
def ended_together(daemons: Sequence[Daemon]) -> Iterator[None]:
    """Whatever happens inside, none of `daemons` (a list that may still grow) lives on after it."""
    try:
        yield
    finally:
        for daemon in list(daemons):
            daemon.kill()
