"""Adoption: what a dead collector left in shared storage is finished by a living one.

The act is a life of the dead sink like any other, run here in its place: recover, publish, one last commit that
closes every file, end. It needs no connection, and leaves the claims alone: a sender's positions are in the record as before,
for whoever its sender goes to. That recovery moves the fence first is what keeps the dead one from committing, should it only
be paused; that storage is claimed by force is what keeps it from touching the files (`Sink.claim`).

Who adopts whom is decided apart from that, by `Adoptions`: a collector looks after the sinks of its own logical nodes on other
physical nodes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

import structlog

from collector.dead_letters import DeadLetters
from collector.sink_worker import SinkWorker
from collector.steps import StepPerformer
from qanat.component import LeftBehind, Sink
from qanat.coordination.store import Conflict, Create, Delete, SessionState, Store
from qanat.delivery import documents
from qanat.delivery import receiver_messages as m
from qanat.delivery.adoption import Backlog
from qanat.delivery.receiver import ReceiverCore
from qanat.delivery.state import Phase
from qanat.delivery.steps import Wait
from qanat.errors import NotConnectedError, OutcomeUnknownError, QanatError

log = structlog.get_logger(__name__)

NODES = "/qanat/nodes"
SINKS = "/qanat/sinks"

# A dead node is looked for this often, or four times within `--adopt-after`.
LOOK_S = 5.0

# Recovery that fails so often in a row (disk full, file missing) is given up, and left to others or to later.
RECOVERIES_MAX = 5

# How long an adopter waits for the next byte to go from a dead fan-out's log to a branch, before it turns to others; much longer
# than a commit takes, and shorter than a person waits for a branch that is away.
BACKLOG_STUCK_S = 30.0

# After a failure, and doubled with each: somebody has to do something about it first.
FAILED_S, FAILED_S_MAX = 60.0, 3600.0


def node_path(physical_node: str) -> str:
    """Where a living collector is registered."""
    return f"{NODES}/{quote(physical_node, safe='')}"


async def finish(core: ReceiverCore, sink: Sink, store: Store, *, give_up: Callable[[], bool]) -> str | None:
    """Live the rest of this core's sink's life. Gives None when nothing is left to do, else why it was left.

    `give_up` is asked in every pause. Raises what no rule of the protocol covers, as CorruptError.
    """
    worker = SinkWorker(
        sink,
        DeadLetters(sink.context.state_dir / "dead-letters"),
        on_failed_append=lambda reason: None,
        on_fatal=lambda error: None,
        adopts=True,
    )
    performer = StepPerformer(store, worker)
    commands = deque(core.handle(m.Start()))
    reason: str | None = "it did not come to its end"
    recoveries = 0
    backlog = Backlog(BACKLOG_STUCK_S)
    try:
        while commands:  # one procedure runs, so one step at a time is under way
            match commands.popleft():
                case m.Report(event, why):
                    log.info(event, sink=core.state.sink, reason=why)
                    reason, recoveries = why, recoveries + (event == "recovery_waits")
                case m.Perform(step=Wait()) if give_up() or recoveries >= RECOVERIES_MAX:
                    commands += core.handle(m.Stop())
                case m.Perform() as command:
                    commands += await _performed(core, performer, command)
            is_ready = core.state.phase is Phase.READY and not core.state.stopping
            if is_ready and backlog.is_done(sink.backlog_bytes(), time.monotonic()):
                commands += core.handle(m.Stop())
    finally:
        left_bytes = sink.backlog_bytes()
        await worker.close()
    if left_bytes:
        return f"a branch has not come to its end: {left_bytes} bytes wait for it"
    return None if core.state.commits and core.state.trouble is None else reason


async def _performed(core: ReceiverCore, performer: StepPerformer, command: m.Perform) -> list[m.Command]:
    result, failure = None, None
    try:
        result = await performer.perform(command.step)
    except (QanatError, Conflict) as error:
        failure = error
    return core.handle(m.StepDone(command.number, result, failure))


@dataclass(slots=True)
class _Failures:
    """Of one sink: how often, and when it is tried again."""

    count: int = 0
    until_s: float = 0.0

    def add(self, now_s: float) -> None:
        self.until_s = now_s + min(FAILED_S * 2**self.count, FAILED_S_MAX)
        self.count += 1


@dataclass(slots=True)
class Adoptions:
    """Looks for dead nodes and adopts their sinks of the logical nodes that run here, one after the other.

    `sinks`: by logical node, what makes its sink as it is on a given physical node. `core`: makes the core of a sink.
    `after_s`: how long a node has to be gone. `adopted` is called after each adoption; `stranded` with how many bytes of a
    dead sink nobody reaches but on its host, 0 when that is over.
    """

    physical_node: str
    store: Store
    sinks: Mapping[str, Callable[[str], Sink]]
    core: Callable[[str], ReceiverCore]
    after_s: float
    adopted: Callable[[], None]
    stranded: Callable[[str, int], None] = lambda sink, size: None
    now_s: Callable[[], float] = time.monotonic
    _gone_since_s: dict[str, float] = field(default_factory=dict)
    _settled: dict[str, int] = field(
        default_factory=dict
    )  # by sink: the version of a record that left nothing
    _failures: dict[str, _Failures] = field(default_factory=dict)
    _living: set[str] = field(default_factory=set)
    _stranded: dict[str, int] = field(default_factory=dict)  # by sink: bytes that people were told of

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._look()
            except (NotConnectedError, OutcomeUnknownError):
                self._gone_since_s.clear()  # nobody knows who lives
            await asyncio.sleep(min(LOOK_S, self.after_s / 4))

    async def _look(self) -> None:
        await self._look_who_lives()
        for sink in [each for each in self._stranded if each.partition("/")[0] in self._living]:
            self._strand(sink, LeftBehind(0, 0))
        for child in await self.store.children(SINKS):
            sink = unquote(child)
            physical, _, logical = sink.partition("/")
            if logical in self.sinks and self._is_dead(physical) and not self._is_held_off(sink):
                await self._consider(sink, self.sinks[logical](physical))

    async def _look_who_lives(self) -> None:
        """A node counts as gone from when we first saw it missing, with a store that answers."""
        if self.store.session.state is not SessionState.CONNECTED:
            raise NotConnectedError("the coordination store does not answer")
        self._living = {unquote(child) for child in await self.store.children(NODES)}
        known = {unquote(child).partition("/")[0] for child in await self.store.children(SINKS)}
        now_s = self.now_s()
        self._gone_since_s = {
            node: self._gone_since_s.get(node, now_s) for node in known - self._living - {self.physical_node}
        }

    def _is_dead(self, physical: str) -> bool:
        since_s = self._gone_since_s.get(physical)
        return since_s is not None and self.now_s() - since_s >= self.after_s

    def _is_held_off(self, sink: str) -> bool:
        failures = self._failures.get(sink)
        return failures is not None and self.now_s() < failures.until_s

    async def _consider(self, sink: str, component: Sink) -> None:
        node = await self.store.get(documents.commit_path(sink))
        if node is None or self._settled.get(sink) == node.version:
            return
        left = None
        try:
            token = documents.decode_record(node.value, documents.commit_path(sink)).token
            if token is not None:
                left = await asyncio.to_thread(component.left_behind, token)
            self._strand(sink, left or LeftBehind(0, 0))
            if left is None or not left.is_finishable:
                self._settled[sink] = node.version
                return
            await self._adopt_alone(sink, component, left)
        except QanatError as error:
            self._failed(sink, str(error))

    def _strand(self, sink: str, left: LeftBehind) -> None:
        """Tell people, once, what only they can help."""
        if left.stranded_bytes == self._stranded.get(sink, 0):
            return
        self.stranded(sink, left.stranded_bytes)
        if not left.stranded_bytes:
            del self._stranded[sink]
            log.info("stranded_events_back", sink=sink)
            return
        self._stranded[sink] = left.stranded_bytes
        log.error("events_stranded", sink=sink, bytes=left.stranded_bytes, reason=left.stranded)

    async def _adopt_alone(self, sink: str, component: Sink, left: LeftBehind) -> None:
        """One adopter at a time: two would not harm, but only hinder each other."""
        path = f"{SINKS}/{quote(sink, safe='')}/adopter"
        try:
            await self.store.multi((Create(path, self.physical_node.encode(), ephemeral=True),))
        except Conflict:
            return
        try:
            await self._adopt(sink, component, left)
        finally:
            await self._release(path)

    async def _adopt(self, sink: str, component: Sink, left: LeftBehind) -> None:
        log.warning(
            "adoption_begins",
            sink=sink,
            files=left.files,
            events=left.events,
            log_bytes=left.waiting_bytes,
            reason=f"its node is gone for {self.after_s:g} s, and has left them unfinished in storage that is reached from here",
        )
        watching = asyncio.create_task(self._watch_who_lives())
        try:
            physical = sink.partition("/")[0]
            reason = await finish(
                self.core(sink), component, self.store, give_up=lambda: physical in self._living
            )
        finally:
            watching.cancel()
        if reason is not None:
            self._failed(sink, reason)
            return
        self._failures.pop(sink, None)
        self.adopted()
        log.info("adoption_done", sink=sink, files=left.files, events=left.events)

    async def _watch_who_lives(self) -> None:
        while True:
            await asyncio.sleep(min(LOOK_S, self.after_s / 4))
            try:
                await self._look_who_lives()
            except (NotConnectedError, OutcomeUnknownError):
                continue

    async def _release(self, path: str) -> None:
        """If this fails, the end of the session does it."""
        try:
            node = await self.store.get(path)
            if node is not None and node.owner == self.store.session.id:
                await self.store.multi((Delete(path, node.version),))
        except (QanatError, Conflict) as error:
            log.info("adopter_not_released", path=path, reason=str(error))

    def _failed(self, sink: str, reason: str) -> None:
        failures = self._failures.setdefault(sink, _Failures())
        failures.add(self.now_s())
        log.error(
            "adoption_failed",
            sink=sink,
            reason=reason,
            again_s=round(failures.until_s - self.now_s()),
        )
