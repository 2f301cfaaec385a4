"""The demo's course: start, configure, change, add, kill, wait until all is stored, stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qanat.coordination.open import open_store
from qanat.demo.asking import run_command
from qanat.demo.cluster import Cluster, Interrupted
from qanat.demo.logs import LogFile
from qanat.demo.plan import ADDED, AGENTS, COLLECTORS, Plan, title
from qanat.demo.table import Display
from qanat.demo.telling import Telling
from qanat.demo.watch import Watch
from qanat.errors import RetryableError

if TYPE_CHECKING:
    from qanat.testing.zookeeper import Ensemble

LOOK_S = 0.5  # often enough to look alive; each look asks all programs and the store

# A machine that needs longer for some interpreters to start is beyond a demonstration.
START_S_MAX = 90.0
# What is on its way when the writer stops takes a moment; a collector that was killed just before, a few seconds.
SETTLE_S_MAX = 60.0

_LEADER = "the master that leads"

# What happens when, in parts of the time. Nodes report every five seconds: before the first report, `status` is all zeros.
STEPS: tuple[tuple[float, str, str], ...] = (
    (0.14, "status", ""),
    (0.18, "change", ""),
    (0.32, "add", ADDED),
    (0.46, "kill", _LEADER),
    (0.58, "kill", "c1"),
    (0.72, "kill", "a2"),
    (0.90, "status", ""),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`seconds` is how long the application wrote; `is_complete`: everything was in storage when it was stopped. `faults`: what
    else went wrong."""

    seconds: float
    kills: int
    is_complete: bool
    faults: tuple[str, ...] = ()


class Course:
    """`seconds`: how long the application writes."""

    def __init__(
        self,
        plan: Plan,
        logs: Iterable[LogFile],
        display: Display,
        seconds: float,
        ensemble: Ensemble | None = None,
    ) -> None:
        self._plan = plan
        self._seconds = seconds
        self._display = display
        self._store = open_store(plan.store_url)
        self._watch = Watch(plan, logs, self._store)
        self._cluster = Cluster(plan, ensemble, lambda text: self._telling.say(text))
        self._telling = Telling(plan, self._watch, self._cluster, display, seconds)
        self._steps = [(part * seconds, what, whom) for part, what, whom in STEPS]
        self._faults: list[str] = []

    async def run(self, stop: asyncio.Event) -> Outcome:
        """The whole course. Whatever happens, no process is left. Raises Interrupted, ConfigError, RetryableError."""
        try:
            async with self._cluster.running(stop):
                try:
                    return await self._pass()
                except Interrupted:
                    self._telling.say("interrupted; stopping the programs")
                    raise
                finally:
                    self._display.close()
                    await self._store.close()
        finally:
            self._display.close()

    async def _pass(self) -> Outcome:
        await self._start()
        await self._cluster.start_writer()
        self._telling.begin()
        self._telling.say("the application begins to write, and its logs rotate every few seconds")
        while self._steps or self._telling.writing_s < self._seconds:
            await self._look()
            if self._steps and self._telling.writing_s >= self._steps[0][0]:
                _, what, whom = self._steps.pop(0)
                await self._do(what, whom)
        wrote_s = self._telling.writing_s
        await self._cluster.end_writer()
        is_complete = await self._wait_until_stored()
        return Outcome(wrote_s, self._cluster.kills, is_complete, tuple(self._faults))

    # The beginning and the end.

    async def _start(self) -> None:
        say, plan = self._telling.say, self._plan
        if plan.store_url.startswith("zookeeper"):
            say("starting three ZooKeeper servers")
            await self._cluster.start_store()
        say(f"starting {len(plan.masters)} masters, {len(COLLECTORS)} collectors, {len(AGENTS)} agents")
        self._cluster.start(*plan.masters, *COLLECTORS, *AGENTS)
        await self._until(
            lambda: len(self._attached) == len(COLLECTORS) + len(AGENTS), "all programs to attach to a master"
        )
        say(
            "all are attached to a master, and were told nothing yet; now they are configured, all from one place:"
        )
        for name in ("collectors", "agents"):
            await self._command("apply", str(plan.flow(name)), "--yes", "--wait")

    async def _wait_until_stored(self) -> bool:
        """False when it takes too long. Twice in a row: the store is not read as one snapshot."""
        self._telling.say("the application stops; waiting until all that it wrote is in storage")
        deadline_s = asyncio.get_running_loop().time() + SETTLE_S_MAX
        level = 0
        while level < 2:
            if asyncio.get_running_loop().time() > deadline_s:
                return False
            await self._look()
            level = level + 1 if self._watch.is_level else 0
        self._telling.say("everything is in storage; stopping the programs")
        return True

    # What happens on the way.

    async def _do(self, what: str, whom: str) -> None:
        match what:
            case "status":
                await self._command("status")
            case "add":
                await self._add(whom)
            case "change":
                await self._change()
            case "kill":
                await self._kill(whom)

    async def _add(self, name: str) -> None:
        self._telling.say(
            f"one collector more: {name}. Every collector runs what selects role=collector, so nothing is to be configured",
            "bold",
        )
        self._cluster.start(name)
        await self._until(lambda: self._runs(name), f"{title(name)} to run what it should")
        self._telling.say(
            f"{title(name)} runs what it should. Agents go to it by themselves once it was well for half a minute, or now:",
            "green",
        )
        await self._command("refresh", *(sender.partition("/")[2] for sender in self._plan.senders.values()))

    async def _change(self) -> None:
        self._telling.say(
            "a change in mid-stream: collectors compress from now on, agents wait longer after a rotation",
            "bold",
        )
        await self._command("apply", str(self._plan.flow("changed")), "--yes", "--wait")

    async def _kill(self, whom: str) -> None:
        said = self._watch.said
        name = whom if whom != _LEADER else said.leader if said and said.leader else self._plan.masters[0]
        pid = self._cluster.kill(name)
        if pid is not None:
            leads = ", which leads" if whom == _LEADER else ""
            self._telling.say(f"SIGKILL to {title(name)}{leads} (pid {pid})", "bold red")
            self._telling.was_killed(name)

    async def _command(self, *arguments: str) -> None:
        """As a user would type it; the cluster goes on being watched."""
        done: list[tuple[int, str]] = []

        async def run() -> None:
            try:
                done.append(await run_command(self._plan.master_addresses, *arguments))
            except TimeoutError:
                done.append((1, "it did not end in time"))

        task = asyncio.create_task(run())
        try:
            while not task.done():
                await self._look()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        code, text = done[0]
        self._telling.command(arguments, text)
        if code:
            self._faults.append(f"qanat {arguments[0]} ended with exit code {code}: {text.strip()[-400:]}")

    # Waiting.

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = asyncio.get_running_loop().time() + START_S_MAX
        await self._look()
        while not condition():
            await self._look()
            self._cluster.check_starting()
            if asyncio.get_running_loop().time() > deadline_s:
                raise RetryableError(
                    f"waited {START_S_MAX:.0f} s in vain for {what}; the programs' logs are in {self._plan.root / 'logs'}"
                )

    async def _look(self) -> None:
        """Show the present state, then wait for the next; raises what ended one of the programs."""
        await self._watch.look()
        self._telling.look()
        await self._cluster.rest(LOOK_S)

    @property
    def _attached(self) -> dict[str, str]:
        return self._watch.said.attached if self._watch.said else {}

    def _runs(self, name: str) -> bool:
        return self._watch.said is not None and name in self._watch.said.running
