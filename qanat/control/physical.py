"""A physical node under masters: performs what the core says, and runs its logical nodes. The shell around `node.py`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from qanat.control import node_messages as m
from qanat.control.assignment import Assigned
from qanat.control.last_good import LastGood
from qanat.control.node import NodeCore
from qanat.control.running import Program, Running, read_statement
from qanat.errors import FencedError, QanatError, RetryableError
from qanat.flow.model import LogicalNode
from qanat.rpc.backoff import backoff_s
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

# A source that looks at ten thousand files, a sink that recovers large ones: longer than that, and a change has failed.
OPEN_S_MAX = 60.0

# What a logical node waits for acks and commits before it is switched; as a stopping program does.
DRAIN_S_MAX = 10.0

# Between attempts at a statement that failed. A full disk or a missing directory is somebody's to repair first.
RETRY_S_MAX = 60.0

# Rates over shorter intervals than this are noise.
RATE_S_MIN = 1.0


@dataclass(slots=True)
class _Run:
    """What runs for a logical node, or is about to."""

    task: asyncio.Task[None] | None = None
    running: Running | None = None
    deadline: asyncio.TimerHandle | None = None
    is_given_up: bool = False  # before it was built, or at the deadline


@dataclass(slots=True)
class _Rate:
    """Counters as they were at some time, and the rates since."""

    at_s: float = 0.0
    events: int = 0
    bytes: int = 0
    events_s: float = 0.0
    bytes_s: float = 0.0


class PhysicalNode:
    """`changed`: is called when masters should be told. `listens`: when addresses changed: logical node -> address."""

    def __init__(
        self,
        program: Program,
        last_good: LastGood,
        changed: Callable[[], None],
        listens: Callable[[dict[str, str]], None],
    ) -> None:
        last = last_good.load()
        self.core = NodeCore(last.good, last.revision, last.begun)
        self._program = program
        self._last_good = last_good
        self._changed, self._listens = changed, listens
        self._listening: dict[str, str] = {}
        self._runs: dict[str, _Run] = {}
        self._parsed: dict[str, tuple[str, LogicalNode]] = {}  # text and node: checked, and not built yet
        self._rates: dict[str, _Rate] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._saving = asyncio.Lock()
        self._save_fault = ""  # why the last Save could not be done
        self._failure: BaseException | None = None
        self._over = asyncio.Event()

    async def run(self) -> None:
        """*Blocking* until everything is drained and closed after `stop`. Raises FencedError."""
        try:
            await self._over.wait()
            async with self._saving:  # whatever is being saved is saved
                pass
        finally:
            for timer in self._timers:
                timer.cancel()
            running = [run.task for run in self._runs.values() if run.task is not None]
            for task in (*self._tasks, *running):
                task.cancel()
            await asyncio.gather(*self._tasks, *running, return_exceptions=True)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Drain and close everything, then end."""
        self.handle(m.Stopping())

    def told(self, assign: wire.Assign) -> None:
        """A master says what to run."""
        statements = tuple(
            Assigned(each.logical, each.flow, each.text, each.hash, each.waiting)
            for each in assign.statements
        )
        self.handle(m.Told(assign.revision, statements))
        for run in self._runs.values():
            if run.running is not None:
                run.running.retry_soon()

    def handle(self, event: m.Event) -> None:
        """Feed the core, and do what it says."""
        for command in self.core.handle(event, time.time_ns()):
            self._do(command)
        listening = {each.logical: each.address for each in self.core.slots.values() if each.address}
        if listening != self._listening:
            self._listening = listening
            self._listens(listening)
        if self.core.is_over:
            self._over.set()

    def report(self) -> wire.Report:
        """As masters are told, measured now."""
        counters = {name: self._measure(name) for name in list(self.core.slots)}
        logical = [
            wire.LogicalState(
                logical=each.logical,
                wanted_hash=each.wanted_hash,
                running_hash=each.running_hash,
                state=wire.State.Name(each.state.value),
                why=each.why,
                since_ns=each.since_ns,
                counters=counters.get(each.logical),
                address=each.address,
                attempts=each.attempts,
                delivers_to=self._delivers_to(each.logical),
            )
            for each in self.core.report()
        ]
        return wire.Report(
            wanted_revision=self.core.wanted_revision,
            applied_revision=self.core.applied_revision,
            logical=logical,
            at_ns=time.time_ns(),
        )

    # What the core wants done.

    def _do(self, command: m.Command) -> None:
        match command:
            case m.Check():
                self._spawn(self._check(command))
            case m.Amend():
                self._amend(command)
            case m.Open():
                run = self._runs[command.logical] = _Run()
                run.task = asyncio.get_running_loop().create_task(self._open(command, run))
            case m.Close():
                self._close(command)
            case m.Wait():
                delay_s = backoff_s(command.attempt, RETRY_S_MAX)
                self._later(delay_s, partial(self.handle, m.TimeOver(command.logical, command.number)))
            case m.Save():
                self._spawn(self._save(self.core.lasting()))
            case m.Report():
                self._changed()
            case m.Say():
                log.warning(command.event, node=command.logical, reason=command.reason)

    async def _check(self, command: m.Check) -> None:
        fault = ""
        try:
            node = await asyncio.to_thread(read_statement, command.text, self._program)
            self._parsed[command.logical] = (command.text, node)
        except (QanatError, OSError) as error:
            fault = str(error)
        except Exception as error:  # a defect in a component is the component's
            log.exception("statement_check_failed", node=command.logical)
            fault = f"{type(error).__name__}: {error}"
        self.handle(m.Checked(command.logical, command.number, fault))

    def _amend(self, command: m.Amend) -> None:
        running = self._runs[command.logical].running
        text, node = self._parsed[command.logical]
        done = running is not None and text == command.text and running.amend(node)
        if done:
            del self._parsed[command.logical]
            log.info("logical_node_amended", node=command.logical)
        self.handle(m.Amended(command.logical, command.number, done))

    async def _open(self, command: m.Open, run: _Run) -> None:
        why = ""
        try:
            node = await self._ready_to_open(command)
            if not run.is_given_up:
                run.running = self._program.build(node)
                run.deadline = self._later(OPEN_S_MAX, partial(self._give_up, run))
                await run.running.run(partial(self._opened, command, run))
        except FencedError as error:
            self._fail(error)
        except asyncio.CancelledError:
            if not run.is_given_up:
                raise
            why = self._why_given_up(command)
        except (QanatError, OSError) as error:
            why = str(error)
        except BaseExceptionGroup as group:
            why = self._of_group(group, command.logical)
        except Exception as error:  # of one logical node: the others go on
            log.exception("logical_node_defect", node=command.logical)
            why = f"{type(error).__name__}: {error}"
        self._ended(command, why)

    async def _ready_to_open(self, command: m.Open) -> LogicalNode:
        """What was to be saved before is durable: the node must know after a crash where its events may be. Raises
        RetryableError when it is not, and what reading the statement raises."""
        if self._save_fault:
            await self._save(self.core.lasting())
        async with self._saving:
            if self._save_fault:
                raise RetryableError(f"what is to run can't be noted: {self._save_fault}")
        text, node = self._parsed.pop(command.logical, ("", None))
        if node is None or text != command.text:  # the last good one; or another was checked at the same time
            node = await asyncio.to_thread(read_statement, command.text, self._program)
        return node

    def _of_group(self, group: BaseExceptionGroup, logical: str) -> str:
        fenced, others = group.split(FencedError)
        if fenced is not None:
            self._fail(_first(fenced))
        elif others is not None and others.split(QanatError)[1] is not None:
            log.error("logical_node_defect", node=logical, exc_info=group)
        first = _first(group)
        return str(first) if isinstance(first, QanatError) else f"{type(first).__name__}: {first}"

    def _why_given_up(self, command: m.Open) -> str:
        slot = self.core.slots.get(command.logical)
        run = self._runs[command.logical]
        if slot is not None and slot.step.value == "closing":
            return ""  # drained as far as time allowed
        trouble = "" if run.running is None else run.running.trouble
        return f"it did not open within {OPEN_S_MAX:g} s" + (f": {trouble}" if trouble else "")

    def _opened(self, command: m.Open, run: _Run, address: str) -> None:
        if run.deadline is not None:
            run.deadline.cancel()
        log.info("logical_node_opened", node=command.logical, address=address or None)
        self.handle(m.Opened(command.logical, command.number, address))

    def _ended(self, command: m.Open, why: str) -> None:
        run = self._runs.pop(command.logical, None)
        if run is not None and run.deadline is not None:
            run.deadline.cancel()
        log.info("logical_node_ended", node=command.logical, reason=why or "it was told to")
        self.handle(m.Ended(command.logical, command.number, why))

    def _close(self, command: m.Close) -> None:
        run = self._runs[command.logical]
        if run.deadline is not None:
            run.deadline.cancel()
        if run.running is None:  # it is not even built, and will not be
            run.is_given_up = True
            return
        run.running.stop(command.successor)
        run.deadline = self._later(DRAIN_S_MAX, partial(self._give_up, run))

    @staticmethod
    def _give_up(run: _Run) -> None:
        run.is_given_up = True
        assert run.task is not None
        run.task.cancel()

    async def _save(self, lasting: m.Lasting) -> None:
        async with self._saving:
            self._save_fault = await asyncio.to_thread(self._last_good.save, lasting)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._over.set()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _later(self, delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        def over() -> None:
            self._timers.discard(timer)
            call()

        timer = asyncio.get_running_loop().call_later(delay_s, over)
        self._timers.add(timer)
        return timer

    # Measuring.

    def _delivers_to(self, name: str) -> list[wire.Destination]:
        run = self._runs.get(name)
        if run is None or run.running is None:
            return []
        now_ns = time.time_ns()
        return [
            wire.Destination(address=each.address, since_ns=now_ns - int(each.for_s * 1e9))
            for each in run.running.delivers_to
        ]

    def _measure(self, name: str) -> wire.Counters:
        counters = self._program.counters(name)
        run = self._runs.get(name)
        running = None if run is None else run.running
        trouble = "" if running is None else running.trouble
        behind = f"{counters.lag_bytes} bytes are not read or not stored yet" if counters.lag_bytes else ""
        if counters.unacked_age_s:
            behind = f"what came {counters.unacked_age_s:.0f} s ago is not acknowledged yet"
        # By position: a batch of which nothing is left after filtering moves it as well.
        progress = hash(tuple(sorted(counters.positions.items())))
        over = running is not None and running.is_over
        self.handle(m.Measured(name, progress, behind, trouble, over))
        rate = self._rates.setdefault(name, _Rate(time.monotonic(), counters.events, counters.bytes))
        interval_s = time.monotonic() - rate.at_s
        if interval_s >= RATE_S_MIN:
            self._rates[name] = rate = _Rate(
                time.monotonic(),
                counters.events,
                counters.bytes,
                (counters.events - rate.events) / interval_s,
                (counters.bytes - rate.bytes) / interval_s,
            )
        counters.events_s, counters.bytes_s = rate.events_s, rate.bytes_s
        return counters


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
