"""One run of a command: its pipes, its process group, its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.running.supervisor import BY_SIGNAL
from qanat import limits

# What a pipe holds.
READ_BYTES_MAX = 64 * limits.KIB

# What a command has for ending by itself when the node stops.
TERM_S_MAX = 1.0

# What a command has written is read at its end, but something that it started and left behind may go on writing.
REST_BYTES_MAX = 1 * limits.MIB

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


class Run:
    """A started command. `read`: is given the name of the stream, `stdout` or `stderr`, and what came.

    *Thread*: one, but `interrupt`."""

    def __init__(self, argv: Sequence[str], read: Callable[[str, bytes], None], *, stderr: bool) -> None:
        self._read = read
        self._woken, self._wake = os.pipe()
        life, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SUPERVISOR), str(life), *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if stderr else subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
                pass_fds=(life,),
            )
        except BaseException:
            for each in (self._woken, self._wake, self._life):
                os.close(each)
            raise
        finally:
            os.close(life)
        self._streams = {
            pipe.fileno(): name
            for name, pipe in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
            if pipe is not None
        }

    def finish(self) -> int:
        """Read until the command ends, or `interrupt`; its exit code, 128 and the number of a signal. *Blocking*. What it left
        behind in its process group is killed."""
        ended = os.pidfd_open(self._process.pid)
        try:
            self._follow(ended)
            self._kill()
            self._read_rest()
            code = self._process.wait()
            return code if code >= 0 else BY_SIGNAL - code
        finally:
            os.close(ended)
            self._close()

    def interrupt(self) -> None:
        """End it: it is asked, and soon after killed. *Thread*: any; before `finish` has returned."""
        with contextlib.suppress(OSError):
            os.write(self._wake, b"x")

    def _follow(self, ended: int) -> None:
        waiting = select.poll()
        until_s: float | None = None
        for each in (ended, self._woken, *self._streams):
            waiting.register(each, select.POLLIN)
        while True:
            left_ms = None if until_s is None else max(0.0, until_s - time.monotonic()) * 1000
            ready = dict(waiting.poll(left_ms))
            if not ready and until_s is not None and time.monotonic() >= until_s:
                return
            if self._woken in ready:
                waiting.unregister(self._woken)
                until_s = time.monotonic() + TERM_S_MAX
                os.killpg(self._process.pid, signal.SIGTERM)
            for descriptor in ready.keys() & self._streams.keys():
                if not self._read_some(descriptor):
                    waiting.unregister(descriptor)
            if ended in ready:
                return

    def _read_some(self, descriptor: int) -> int:
        data = os.read(descriptor, READ_BYTES_MAX)
        if data:
            self._read(self._streams[descriptor], data)
        return len(data)

    def _kill(self) -> None:
        """All of its group; its leader was not waited for, so the number is still its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read_rest(self) -> None:
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)
            left = REST_BYTES_MAX
            with contextlib.suppress(BlockingIOError):
                while left > 0 and (count := self._read_some(descriptor)):
                    left -= count

    def _close(self) -> None:
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        for each in (self._woken, self._wake, self._life):
            os.close(each)
