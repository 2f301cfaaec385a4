"""A collector process: the real receiver core over a disk that is not to be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qanat.delivery import documents, steps
from qanat.delivery import receiver_messages as r
from qanat.delivery import sender_messages as s
from qanat.delivery.receiver import ReceiverCore
from qanat.delivery.state import Held
from qanat.errors import FencedError, RetryableError
from qanat.testing.simulation.agent import WINDOW_EVENTS
from qanat.testing.simulation.disk import Disk, Tenant
from qanat.testing.simulation.fan_out import FanOut
from qanat.testing.simulation.kernel import Process
from qanat.testing.simulation.network import Connection

if TYPE_CHECKING:
    from qanat.testing.simulation.world import World

COMMIT_S = 0.3  # several network delays, so that batches arrive on both sides of a cut
COMMIT_EVENTS = 24  # below the window: commits start early, too
RECORD_STREAMS_MAX = 3  # so few that folding is common
BACKOFF_S_FIRST = 0.05
BACKOFF_S_MAX = 3.0  # of virtual time; the core's own limit only makes schedules longer


class Collector(Process):
    """One process of a sink."""

    def __init__(self, world: World, disk: Disk, prefix: str, *, adopts: bool = False) -> None:
        super().__init__(world.kernel, disk.name)
        self.disk = disk
        self.p_slow_branch = world.p_slow_branch
        self.tenant = (
            FanOut(self, disk, by_force=adopts) if disk.is_fan_out else Tenant(disk, by_force=adopts)
        )
        self.connections: dict[int, Connection] = {}
        self.listens = True
        self.stopped = False
        self._world = world
        self._cut = 0
        self.core = ReceiverCore(
            disk.name,
            prefix,
            commit_s=COMMIT_S,
            commit_bytes=COMMIT_EVENTS,
            record_streams_max=RECORD_STREAMS_MAX,
        )
        self.soon(0.0, self.handle, r.Start())

    # What arrives.

    def receive(self, event: r.Event) -> None:
        """A message of a connection that this end still has."""
        connection: int = getattr(event, "connection")  # noqa: B009 - every wire event has one
        if connection in self.connections:
            self.handle(event)

    def lost(self, connection: Connection) -> None:
        """The connection ended at this end."""
        if self.connections.pop(connection.number, None) is not None:
            connection.collector_closes()
            self.handle(r.ConnectionLost(connection.number))

    def handle(self, event: r.Event) -> None:
        """Give the core an event and perform what follows, in order."""
        if not self.alive:
            return
        self.kernel.note(self.name, event)
        for command in self.core.handle(event):
            self._perform(command, event)
        self._check()

    def _perform(self, command: r.Command, event: r.Event) -> None:
        match command:
            case r.Append():
                self._append(event)
            case r.Perform():
                self._step(command.number, command.step)
            case r.Report():
                self.kernel.note(self.name, command)
            case r.Stopped():
                self.stopped = True
                self._ended()
            case _:
                self._say(command)

    def _ended(self) -> None:
        self._world.collector_stopped(self)

    def _say(self, command: r.Command) -> None:
        number: int = getattr(command, "connection")  # noqa: B009 - every one left has a connection
        connection = self.connections.get(number)
        if connection is None:
            return
        self.kernel.note(self.name, command)
        local = connection.local
        match command:
            case r.SendWelcome():
                connection.down(
                    s.Welcomed(local, command.instance_epoch, dict(command.committed), WINDOW_EVENTS)
                )
            case r.SendOpened():
                connection.down(s.OpenedAt(local, dict(command.positions)))
            case r.SendAck():
                self._world.ledger.check_acked(self.name, connection.agent.host, command.positions)
                connection.down(s.Acked(local, dict(command.positions)))
            case r.SendRewind():
                connection.down(s.Rewound(local, dict(command.positions)))
            case r.SendReleased():
                connection.down(s.ReleaseDone(local))
            case r.SendFenced():
                connection.down(s.FencedOff(local, command.instance_epoch, command.instance))
                self._end(connection)
            case r.Disconnect():
                self._end(connection)

    def _end(self, connection: Connection) -> None:
        """The core asked for it, so it is not told: what the sender still sends on it, it hears as the core must bear it."""
        connection.collector_closes()

    def _append(self, event: r.Event) -> None:
        assert isinstance(event, r.BatchReceived)
        if event.corrupt:
            self.kernel.fail(f"{self.name} appends a corrupt batch of {event.stream}")
        is_gap = event.payload_bytes == 0
        stream = event.stream + self.connections[event.connection].agent.host.suffix
        reason = self.tenant.append(stream, event.start, event.end, is_gap=is_gap)
        if reason is not None:
            self.kernel.faults["append_refused"] += 1
            self.soon(self.kernel.between(0.0, 0.05), self.handle, r.AppendFailed(reason))

    # Steps.

    def _step(self, number: int, step: steps.Step) -> None:
        if not isinstance(step, steps.Wait):
            self.kernel.note(self.name, step)

        def done(result: Any, error: Exception | None) -> None:
            self.handle(r.StepDone(number, result, error))

        match step:
            case steps.Get():
                self._world.store.get(self, step.paths, step.fresh, done)
            case steps.Multi():
                self._world.store.multi(self, step.ops, done)
            case steps.Wait():
                self.soon(self._wait_s(step), done, None, None)
            case steps.SinkSync():
                self.kernel.after(self._disk_s(), self._sync, self._cut, done)
            case _:
                self._sink_step(step, done)

    def _sink_step(self, step: steps.Step, done: Any) -> None:
        """Takes effect now, in the order of the commands; is known to have done so later."""
        result: bytes | None = None
        error: Exception | None = None
        try:
            match step:
                case steps.SinkPrepare():
                    result = self.tenant.prepare(drain=step.drain)
                    self._cut = self.tenant.length_of(result)
                case steps.SinkPublish():
                    self.tenant.publish(step.token)
                case steps.SinkDiscard():
                    self.tenant.discard(step.token)
                case steps.SinkClaim():
                    self.tenant.claim()
                case steps.SinkOpen():
                    self.tenant.open(step.token)
        except (RetryableError, FencedError) as failure:
            error = failure
        self.soon(self._disk_s(), done, result, error)

    def _sync(self, cut: int, done: Any) -> None:
        if not self.alive:
            return
        error: Exception | None = None
        try:
            self.tenant.sync(cut)
        except RetryableError as failure:
            error = failure
        self.hear(done, None, error)

    def _disk_s(self) -> float:
        slow = self.kernel.chance(self._world.p_slow_disk)
        return self.kernel.between(0.1, 1.0) if slow else self.kernel.between(0.0005, 0.01)

    def _wait_s(self, step: steps.Wait) -> float:
        if step.attempt == 0:
            return step.seconds
        longest_s: float = min(step.seconds, BACKOFF_S_MAX, BACKOFF_S_FIRST * 2 ** min(step.attempt, 10))
        return longest_s * self.kernel.between(0.5, 1.0)

    def unforgotten(self) -> list[str]:
        """Retired streams that it still remembers, in its memory and in the store."""
        return [
            f"{self.name} does not forget {sorted(held.retired)} of {held.sender}"
            for held in self.core.state.held.values()
            if held.retired and self._owns(held)
        ]

    def _owns(self, held: Held) -> bool:
        path = documents.claim_path(held.sender)
        claim = documents.decode_claim(self._world.store.tree[path].value, path)
        return (claim.owner, claim.epoch) == (self.name, held.epoch)

    def _check(self) -> None:
        """Memory is bounded: by senders and their streams, and procedures by senders."""
        core, senders = self.core, len(self._world.senders)
        running: dict[int, Any] = core._running
        if len(running) > 1 + 2 * senders:
            self.kernel.fail(f"{self.name} has {len(running)} procedures for {senders} senders")
        if len(core.state.senders) > len(self.connections) + senders:
            self.kernel.fail(f"{self.name} remembers {len(core.state.senders)} connections")
