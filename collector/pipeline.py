"""One logical node of a collector: ingest, receiver core, sink. The shell around `qanat.delivery.receiver`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import structlog

from collector.dead_letters import DeadLetters
from collector.ingest import Ingest
from collector.sink_worker import SinkWorker
from collector.steps import StepPerformer
from qanat.batch import Batch
from qanat.component import Context, Sink
from qanat.control.sampling import TapPoint
from qanat.coordination.store import Conflict, Store
from qanat.delivery import receiver_messages as m
from qanat.delivery.receiver import ReceiverCore
from qanat.delivery.state import Phase
from qanat.delivery.steps import SinkDiscard, SinkPrepare, SinkSync
from qanat.errors import QanatError
from qanat.metrics import CollectorMetrics
from qanat.wire.v1 import delivery_pb2 as wire

log = structlog.get_logger(__name__)

MEASURE_S = 1.0  # a scrape is some ten times rarer
STOP_GRACE_S = 1.0  # for the last acks to reach their senders


@dataclass(frozen=True, slots=True)
class Amount:
    """How much was appended."""

    events: int = 0
    payload_bytes: int = 0
    batches: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.events + other.events,
            self.payload_bytes + other.payload_bytes,
            self.batches + other.batches,
        )

    def __sub__(self, other: Amount) -> Amount:
        return self + Amount(-other.events, -other.payload_bytes, -other.batches)


class Pipeline:
    """Receives, stores, commits and acknowledges, until told to stop."""

    def __init__(
        self,
        core: ReceiverCore,
        sink: Sink,
        store: Store,
        context: Context,
        metrics: CollectorMetrics,
        *,
        address: str,
        window_bytes: int,
        tap: TapPoint | None = None,
    ) -> None:
        self._core = core
        self._context = context
        self._metrics = metrics
        self._window_bytes = window_bytes
        self._tap = tap or TapPoint()
        self._batch: Batch | None = None
        self._open = Amount()  # appended and not committed
        self._cut = Amount()  # of that, covered by the last prepare
        self._open_at_s: float | None = None  # when the first of `_open` was appended
        self._beyond_at_s: float | None = None  # when the first was that the cut does not cover
        self._stopped = asyncio.Event()
        self.opened = asyncio.Event()  # it listens, and its sink has recovered
        self.waits_for = ""  # why it has not
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker = SinkWorker(
            sink,
            DeadLetters(context.state_dir / "dead-letters", metrics.dropped),
            on_failed_append=lambda reason: self._handle(m.AppendFailed(reason)),
            on_fatal=self._fail,
        )
        self._performer = StepPerformer(store, self._worker)
        self.ingest = Ingest(address, self._handle, self._worker.wait_for_room)

    async def run(self) -> None:
        """*Blocking* until stopped. Raises what no rule of the protocol covers: a bug, or damaged storage."""
        try:
            await self.ingest.start()
            log.info("collector_listening", node=self._context.logical_node, address=self.ingest.address)
            self._handle(m.Start())
            while not await self._stops_within(MEASURE_S):
                self._measure()
        finally:
            await self.ingest.stop(STOP_GRACE_S)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._worker.close()
            self._metrics.unstored_bytes(0)
            self._metrics.unacked_age_s(0)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Commit what was received, release the claims, end; without a store that answers, end soon."""
        self._performer.stop()
        self._handle(m.Stop())

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return False
        return True

    def _measure(self) -> None:
        """How much waits to be stored and since when, also while nothing comes and goes."""
        self._metrics.unstored_bytes(self._open.payload_bytes)
        since_s = self._open_at_s
        self._metrics.unacked_age_s(0.0 if since_s is None else time.monotonic() - since_s)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._stopped.set()

    def _handle(self, event: m.Event, batch: Batch | None = None) -> None:
        """Feed the core and do what it says, in its order."""
        self._batch = batch
        commits, aborts = self._core.state.commits, self._core.state.aborts
        for command in self._core.handle(event):
            self._do(command)
        self._batch = None
        if self._core.state.phase is Phase.READY:
            self.opened.set()
        if self._core.state.commits > commits:
            self._metrics.stored(self._cut.events, self._cut.payload_bytes, self._cut.batches)
            self._open = self._open - self._cut
            self._open_at_s = self._beyond_at_s
        if self._core.state.aborts > aborts:
            self._metrics.aborted()

    def _do(self, command: m.Command) -> None:
        match command:
            case m.Append():
                assert self._batch is not None
                self._worker.append(self._batch)
                if (sample := self._tap.sample) is not None:
                    sample(self._batch)
                self._metrics.received(self._batch.count, self._batch.payload_bytes)
                self._open = self._open + Amount(self._batch.count, self._batch.payload_bytes, 1)
                if self._beyond_at_s is None:
                    self._beyond_at_s = time.monotonic()
                    self._open_at_s = self._open_at_s or self._beyond_at_s
            case m.Perform():
                self._begin(command)
            case m.Report():
                self.waits_for = command.reason if command.event.endswith("_waits") else ""
                is_trouble = command.event == "transaction_aborted" or command.event.endswith("_waits")
                say = log.warning if is_trouble else log.info  # a full disk is nothing to be found among news
                say(command.event, node=self._context.logical_node, reason=command.reason)
            case m.Stopped():
                self._stopped.set()
            case _:
                self._say(command)

    def _begin(self, command: m.Perform) -> None:
        match command.step:
            case SinkPrepare():
                self._cut, self._beyond_at_s = self._open, None
            case SinkSync():
                self._metrics.committing()
            case SinkDiscard():
                self._open = Amount()
                self._open_at_s = self._beyond_at_s = None
        task = asyncio.get_running_loop().create_task(self._perform(command))
        self._tasks.add(task)
        task.add_done_callback(self._performed)

    def _performed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _perform(self, command: m.Perform) -> None:
        result: Any = None
        failure: Exception | None = None
        try:
            result = await self._performer.perform(command.step)
        except (QanatError, Conflict) as error:
            failure = error
        self._handle(m.StepDone(command.number, result, failure))

    def _say(self, command: Any) -> None:
        connection = self.ingest.connection(command.connection)
        if connection is None:
            return
        match command:
            case m.SendAck():
                connection.say(wire.ToAgent(ack=wire.Ack(positions=command.positions)))
                self._metrics.moved(command.positions, self._core.state.senders.get(command.connection, ""))
                self._metrics.acked()
            case m.SendRewind():
                self._metrics.rewound()
                connection.say(wire.ToAgent(rewind=wire.Rewind(positions=command.positions)))
            case m.SendOpened():
                connection.say(wire.ToAgent(opened=wire.Opened(positions=command.positions)))
            case m.SendWelcome():
                connection.say(
                    wire.ToAgent(
                        welcome=wire.Welcome(
                            instance_epoch=command.instance_epoch,
                            claim_epoch=command.claim_epoch,
                            committed=command.committed,
                            window_bytes=self._window_bytes,
                        )
                    )
                )
            case m.SendReleased():
                connection.say(wire.ToAgent(released=wire.Released()))
            case m.SendFenced():
                fenced = wire.Fenced(instance_epoch=command.instance_epoch, instance=command.instance)
                connection.say(wire.ToAgent(fenced=fenced))
                connection.say(None)
            case m.Disconnect():
                log.info("sender_dismissed", peer=connection.peer, reason=command.reason)
                connection.say(None)
