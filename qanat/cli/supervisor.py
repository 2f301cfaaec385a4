"""Runs `qanat` programs as child processes, and starts them again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

import structlog

from qanat.cli.main import EXIT_USAGE
from qanat.errors import ConfigError
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

# A program that dies again and again costs little at this pace, and is back soon after the trouble ends.
RESTART_S_MAX = 10.0
HEALTHY_S = 10.0  # a program that lived so long starts with a short pause again
PIPE_BYTES_MAX = 64 << 10  # what a pipe holds; an error takes less
STOP_S_MAX = 30.0  # an agent drains for 10 s, a collector commits; then SIGKILL, which recovery covers


@dataclass(slots=True)
class Program:
    """One supervised `qanat ARGUMENTS`. `starts` counts its lives; `process` is the present one.

    `on_death(exit_code, pause_s)` is told of a death, and when it starts again; by default the log is.
    """

    name: str
    arguments: Sequence[str]
    log_file: IO[bytes] | None = None
    on_death: Callable[[int, float], None] | None = None
    starts: int = 0
    process: asyncio.subprocess.Process | None = None
    hold: asyncio.Event = field(default_factory=asyncio.Event)  # not set: do not start it again yet

    def __post_init__(self) -> None:
        self.hold.set()

    @property
    def is_running(self) -> bool:
        """It has a living process."""
        return self.process is not None and self.process.returncode is None

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, and wait; SIGKILL after STOP_S_MAX."""
        self._signal(signal.SIGTERM)
        if self.process is not None:
            try:
                await asyncio.wait_for(self.process.wait(), STOP_S_MAX)
            except TimeoutError:
                log.warning(
                    "program_killed", name=self.name, reason=f"it did not stop within {STOP_S_MAX:.0f} s"
                )
                self._signal(signal.SIGKILL)
                await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def supervise(self) -> None:
        """*Blocking* for ever: start, wait, start again. Cancel it before `stop`.

        Raises ConfigError when the program says that its configuration is wrong: starting it again would not help."""
        attempt = 0
        loop = asyncio.get_running_loop()
        while True:
            await self.hold.wait()
            began = loop.time()
            self.starts += 1
            code, error = await self._live()
            if code == EXIT_USAGE:
                where = "above" if self.log_file is None else f"in {self.log_file.name}"
                why = f": {error}" if error else f"; its message is {where}"
                raise ConfigError(f"{self.name} refuses its configuration{why}")
            attempt = 1 if loop.time() - began > HEALTHY_S else attempt + 1
            pause_s = backoff_s(attempt, RESTART_S_MAX)
            (self.on_death or self._log_death)(code, pause_s)
            await asyncio.sleep(pause_s)

    async def _live(self) -> tuple[int, str]:
        """One life. Gives its exit code, and the error that it ended with."""
        reading, writing = os.pipe()
        try:
            # A group of its own: Ctrl-C reaches the supervisor alone, which stops its programs in their order.
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "qanat.cli.child",
                f"{os.getpid()}:{writing}",
                *self.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self.log_file,
                stderr=self.log_file,
                start_new_session=True,
                pass_fds=(writing,),
            )
            code = await self.process.wait()
            return code, _what_is_in(reading)
        finally:
            os.close(reading)
            os.close(writing)

    def _log_death(self, code: int, pause_s: float) -> None:
        log.warning("program_died", name=self.name, exit_code=code, starts_again_in_s=round(pause_s, 1))


def _what_is_in(pipe: int) -> str:
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, PIPE_BYTES_MAX).decode(errors="replace")
    except BlockingIOError:
        return ""


async def run_until_stopped(tiers: Sequence[Sequence[Program]], stop: asyncio.Event) -> None:
    """Supervise all programs until `stop`; then stop tier by tier, the first one first. Raises ConfigError."""
    programs = [program for tier in tiers for program in tier]
    tasks = [asyncio.create_task(program.supervise()) for program in programs]
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait((*tasks, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
        for tier in tiers:
            await asyncio.gather(*(program.stop() for program in tier))
