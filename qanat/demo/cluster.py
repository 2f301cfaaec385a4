"""The demo's course: start, watch, kill, wait until all is stored, stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import IO

from qanat.cli.supervisor import Program
from qanat.coordination.open import open_store
from qanat.demo.logs import LogFile
from qanat.demo.plan import AGENTS, COLLECTORS, Plan
from qanat.demo.table import Display, ProgramRow, View
from qanat.demo.watch import Watch
from qanat.errors import RetryableError

LOOK_S = 0.5  # often enough to look alive; each look asks four programs and the store

# A machine that needs longer for four interpreters to start is beyond a demonstration.
START_S_MAX = 60.0
# What is on its way when the writer stops takes a moment; a collector that was killed just before, a few seconds.
SETTLE_S_MAX = 40.0

# A program that can't start says why in its log each time; more attempts would say the same.
START_ATTEMPTS_MAX = 3

# Who is killed when, as parts of the time: first the collector that a1 prefers, later the other one, so that each
# agent moves; the agent in between.
KILLS = ((0.2, "c1"), (0.45, "a2"), (0.7, "c2"))


class Interrupted(Exception):
    """Somebody asked the demo to stop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`seconds` is how long the application wrote; `is_complete`: everything was in storage when it was stopped."""

    seconds: float
    kills: int
    is_complete: bool


@dataclass(slots=True)
class _Life:
    """What was said about a program, so that it is said once."""

    killed_at_s: float | None = None
    killed_pid: int | None = None


class Cluster:
    """Two agents, two collectors, and the application whose log they carry; each a process."""

    def __init__(self, plan: Plan, logs: Iterable[LogFile], display: Display, seconds: float) -> None:
        self._plan = plan
        self._display = display
        self._seconds = seconds
        self._store = open_store(plan.store_url)
        self._watch = Watch(plan, logs, self._store)
        self._programs: dict[str, Program] = {}
        self._lives = {name: _Life() for name in (*COLLECTORS, *AGENTS)}
        self._owners: dict[str, str] = {}
        self._kills = [(part * seconds, name) for part, name in KILLS]
        self._began_s: float | None = None  # when the application began to write

    async def run(self, stop: asyncio.Event) -> Outcome:
        """The whole course. Whatever happens, no process is left. Raises Interrupted, ConfigError, RetryableError."""
        async with self._running(stop) as failed:
            await self._wait_for_programs(failed)
            writer = await self._start_writer()
            try:
                await self._break_things(writer, failed)
            finally:
                await _end(writer)
            wrote_s = self._elapsed_s
            is_complete = await self._wait_until_stored(failed)
        kills = sum(life.killed_pid is not None for life in self._lives.values())
        return Outcome(wrote_s, kills, is_complete)

    # Processes.

    @contextlib.asynccontextmanager
    async def _running(self, stop: asyncio.Event) -> AsyncIterator[set[asyncio.Task[object]]]:
        """All programs, supervised. Yields the tasks whose end means failure."""
        with contextlib.ExitStack() as files:
            for name in self._lives:
                log_file = files.enter_context(self._plan.log(name).open("ab"))
                self._programs[name] = self._program(name, log_file)
            tasks: set[asyncio.Task[object]] = {asyncio.create_task(_stopped(stop))}
            tasks |= {asyncio.create_task(program.supervise()) for program in self._programs.values()}
            try:
                yield tasks
            except Interrupted:
                self._say("interrupted; stopping the programs")
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._display.close()
                # Agents first: they wait for their last acknowledgements, which collectors then have given.
                for tier in (AGENTS, COLLECTORS):
                    await asyncio.gather(*(self._programs[name].stop() for name in tier))
                await self._store.close()

    def _program(self, name: str, log_file: IO[bytes]) -> Program:
        def on_death(code: int, pause_s: float) -> None:
            why = f"by signal {-code}" if code < 0 else f"with exit code {code}, see {log_file.name}"
            self._say(f"{_title(name)} ended {why}; its supervisor starts it again in {pause_s:.1f} s")

        return Program(name, self._plan.arguments(name), log_file, on_death)

    async def _start_writer(self) -> asyncio.subprocess.Process:
        paths = [str(self._plan.busy(agent)) for agent in AGENTS]
        with self._plan.log("writer").open("ab") as log_file:
            writer = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "qanat.demo.writer", str(os.getpid()), *paths,
                stdin=asyncio.subprocess.DEVNULL, stdout=log_file, stderr=log_file, start_new_session=True,
            )  # fmt: skip
        self._began_s = asyncio.get_running_loop().time()
        self._say(
            "all programs are up; the application begins to write, and its logs rotate every few seconds"
        )
        return writer

    # The course.

    async def _wait_for_programs(self, failed: set[asyncio.Task[object]]) -> None:
        self._say("starting two collectors and two agents")
        deadline_s = asyncio.get_running_loop().time() + START_S_MAX
        while not all(meter.is_answering for meter in self._watch.meters.values()):
            await self._look(failed)
            for name, program in self._programs.items():
                if program.starts > START_ATTEMPTS_MAX:
                    raise RetryableError(
                        f"{_title(name)} does not start; its messages are in {self._plan.log(name)}"
                    )
            if asyncio.get_running_loop().time() > deadline_s:
                logs = self._plan.log("a1").parent
                raise RetryableError(
                    f"not all programs were up after {START_S_MAX:.0f} s; their logs are in {logs}"
                )

    async def _break_things(
        self, writer: asyncio.subprocess.Process, failed: set[asyncio.Task[object]]
    ) -> None:
        while self._elapsed_s < self._seconds:
            await self._look(failed)
            if self._kills and self._elapsed_s >= self._kills[0][0]:
                self._kill(self._kills.pop(0)[1])
            if writer.returncode is not None:
                raise RetryableError(f"the application ended; its message is in {self._plan.log('writer')}")

    async def _wait_until_stored(self, failed: set[asyncio.Task[object]]) -> bool:
        """False when it takes too long. Twice in a row: the store is not read as one snapshot."""
        self._say("the application stops; waiting until all that it wrote is in storage")
        deadline_s = asyncio.get_running_loop().time() + SETTLE_S_MAX
        level = 0
        while level < 2:
            if asyncio.get_running_loop().time() > deadline_s:
                return False
            await self._look(failed)
            level = level + 1 if self._watch.is_level else 0
        self._say("everything is in storage; stopping the programs")
        return True

    def _kill(self, name: str) -> None:
        program = self._programs[name]
        if program.process is None or not program.is_running:
            return
        self._lives[name] = _Life(self._elapsed_s, program.process.pid)
        self._say(f"SIGKILL to {_title(name)} (pid {program.process.pid})", "bold red")
        program.kill()

    async def _look(self, failed: set[asyncio.Task[object]]) -> None:
        """Show the present state, then wait for the next. Raises what ended one of the tasks."""
        await self._watch.look()
        self._announce()
        self._display.show(self._view())
        done, _ = await asyncio.wait(failed, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    # Telling.

    @property
    def _elapsed_s(self) -> float:
        return 0.0 if self._began_s is None else asyncio.get_running_loop().time() - self._began_s

    def _say(self, text: str, style: str = "") -> None:
        self._display.say(f"{self._elapsed_s:4.0f} s  {text}", style)

    def _announce(self) -> None:
        """Who is back, and who delivers elsewhere now."""
        for name, life in self._lives.items():
            pid = self._pid(name)
            if life.killed_at_s is not None and self._watch.meters[name].is_answering and pid is not None:
                took_s = self._elapsed_s - life.killed_at_s
                self._say(f"{_title(name)} is back after {took_s:.1f} s (pid {pid})", "green")
                life.killed_at_s = None
        for agent, collector in self._watch.owners.items():
            before = self._owners.get(agent)
            if before and collector and before != collector:
                self._say(f"{_title(agent)} delivers to {_title(collector)} now, no longer to {before}")
            self._owners[agent] = collector

    def _view(self) -> View:
        rows = [self._row(name) for name in (*AGENTS, *COLLECTORS)]
        return View(self._elapsed_s, self._seconds, rows, self._watch.files, self._watch.busy)

    def _row(self, name: str) -> ProgramRow:
        meter, owners, pid = self._watch.meters[name], self._watch.owners, self._pid(name)
        state = "dead" if pid is None else "running" if meter.is_answering else "starting"
        if name in AGENTS:
            peers = owners.get(name, "")
        else:
            peers = ", ".join(agent for agent in AGENTS if owners.get(agent) == name)
        return ProgramRow(name, state, pid, self._programs[name].starts, *meter.rates, peers)

    def _pid(self, name: str) -> int | None:
        """None while it is dead; one that was killed a moment ago is, though nobody has waited for it yet."""
        program = self._programs[name]
        if program.process is None or not program.is_running:
            return None
        pid = program.process.pid
        return None if pid == self._lives[name].killed_pid else pid


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Interrupted


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and wait: the writer ends after its present line."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    await process.wait()


def _title(name: str) -> str:
    return f"{'agent' if name in AGENTS else 'collector'} {name}"
