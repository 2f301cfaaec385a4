"""The demo's processes: started, killed, started again, and none of them left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import IO, TYPE_CHECKING

from qanat.cli.supervisor import Program
from qanat.demo.plan import ADDED, AGENTS, COLLECTORS, Plan, title
from qanat.errors import RetryableError

if TYPE_CHECKING:
    from qanat.testing.zookeeper import Ensemble

# A program that can't start says why in its log each time; more attempts would say the same.
START_ATTEMPTS_MAX = 3


class Interrupted(Exception):
    """Somebody asked the demo to stop."""


class Cluster:
    """Masters, collectors, agents, and the application whose log they carry; each a process."""

    def __init__(self, plan: Plan, ensemble: Ensemble | None, say: Callable[[str], None]) -> None:
        self.killed: dict[str, int] = {}  # by program: the process that was killed last
        self.kills = 0
        self.writer: asyncio.subprocess.Process | None = None
        self._plan = plan
        self._ensemble = ensemble
        self._say = say
        self._programs: dict[str, Program] = {}
        self._tasks: set[asyncio.Task[object]] = set()  # whose end means failure
        self._files = contextlib.ExitStack()

    @contextlib.asynccontextmanager
    async def running(self, stop: asyncio.Event) -> AsyncIterator[None]:
        """Nothing runs yet inside, and nothing any more afterwards, whatever happens."""
        self._tasks.add(asyncio.create_task(_stopped(stop)))
        with self._files:
            try:
                yield
            finally:
                if self.writer is not None:
                    await _end(self.writer)
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                # Agents first: they wait for their last acknowledgements, which collectors then have given.
                for tier in (AGENTS, (*COLLECTORS, ADDED), self._plan.masters):
                    await asyncio.gather(
                        *(self._programs[name].stop() for name in tier if name in self._programs)
                    )
                if self._ensemble is not None:
                    self._ensemble.close()

    async def start_store(self) -> None:
        """The ZooKeeper servers, if there are to be some. Raises RetryableError, Interrupted."""
        if self._ensemble is not None:
            from qanat.demo import ensemble

            await self.meanwhile(ensemble.start(self._ensemble))

    def start(self, *names: str) -> None:
        """From now on, each is started whenever it does not run."""
        for name in names:
            self._programs[name] = self._program(name, self._open_log(name))
            self._tasks.add(asyncio.create_task(self._programs[name].supervise()))

    async def start_writer(self) -> None:
        """The application."""
        paths = [str(self._plan.busy(agent)) for agent in AGENTS]
        log_file = self._open_log("writer")
        self.writer = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "qanat.demo.writer", str(os.getpid()), *paths,
            stdin=asyncio.subprocess.DEVNULL, stdout=log_file, stderr=log_file, start_new_session=True,
        )  # fmt: skip

    async def end_writer(self) -> None:
        """Between two lines."""
        assert self.writer is not None
        await _end(self.writer)

    def kill(self, name: str) -> int | None:
        """SIGKILL; gives the process id, None when it was dead already."""
        pid = self.pid(name)
        if pid is not None:
            self.killed[name] = pid
            self.kills += 1
            self._programs[name].kill()
        return pid

    def pid(self, name: str) -> int | None:
        """None while it is dead; one that was killed a moment ago is, though nobody has waited for it yet."""
        program = self._programs.get(name)
        if program is None or program.process is None or not program.is_running:
            return None
        pid = program.process.pid
        return None if pid == self.killed.get(name) else pid

    def starts(self, name: str) -> int:
        """How many lives it had; 0: it was not to be started yet."""
        return self._programs[name].starts if name in self._programs else 0

    async def rest(self, seconds: float) -> None:
        """Wait so long. Raises what ended one of the tasks (Interrupted among that), RetryableError for a program that does
        not start."""
        done, _ = await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if self.writer is not None and self.writer.returncode not in (None, 0):
            raise RetryableError(f"the application ended; its message is in {self._plan.log('writer')}")

    async def meanwhile(self, doing: Coroutine[object, object, None]) -> None:
        """Await `doing`, a coroutine, unless one of the tasks ends first: raises what it raised."""
        task = asyncio.create_task(doing)
        try:
            while not task.done():
                await asyncio.wait((task, *self._tasks), return_when=asyncio.FIRST_COMPLETED)
                await self.rest(0)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        task.result()

    def check_starting(self) -> None:
        """Raises RetryableError when one of the programs dies again and again."""
        for name, program in self._programs.items():
            if program.starts > START_ATTEMPTS_MAX:
                raise RetryableError(
                    f"{title(name)} does not start; its messages are in {self._plan.log(name)}"
                )

    def _open_log(self, name: str) -> IO[bytes]:
        return self._files.enter_context(self._plan.log(name).open("ab"))

    def _program(self, name: str, log_file: IO[bytes]) -> Program:
        def on_death(code: int, pause_s: float) -> None:
            why = f"by signal {-code}" if code < 0 else f"with exit code {code}, see {log_file.name}"
            self._say(f"{title(name)} ended {why}; its supervisor starts it again in {pause_s:.1f} s")

        return Program(name, self._plan.arguments(name), log_file, on_death)


async def _stopped(stop: asyncio.Event) -> None:
    await stop.wait()
    raise Interrupted


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM, and wait: the writer ends after its present line."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    await process.wait()
