"""An agent process: the real sender core, a file source, and a shell that crashes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qanat.delivery import receiver_messages as r
from qanat.delivery import sender_messages as s
from qanat.delivery.sender import SenderCore
from qanat.testing.simulation.files import BATCH_EVENTS_MAX, File, FileSource, Host, Read
from qanat.testing.simulation.kernel import Process
from qanat.testing.simulation.network import Connection

if TYPE_CHECKING:
    from qanat.testing.simulation.world import World

WINDOW_EVENTS = 32  # a few batches, so that a full window is common
BACKOFF_S_MAX = 2.0  # of virtual time, so that schedules stay short


class Agent(Process):
    """One process of a sender. `started_s`, `ended_s`: its life, by which the ledger of names judges who may fence whom."""

    def __init__(self, world: World, host: Host, instance: str, chain: tuple[str, ...]) -> None:
        super().__init__(world.kernel, instance)
        self.host = host
        self.connection: Connection | None = None
        self.started_s = world.kernel.now_s
        self.ended_s: float | None = None
        self.halted = False
        self.p_crash_between_commands = 0.0
        self.p_power_cut_before_sync = 0.0  # of what was just written to a log
        self._world = world
        self.core = SenderCore(host.name, instance, chain, ack_on_receipt=host.ack_on_receipt)
        self.source: Any = self._open_source()
        self._is_reading = False
        self._batch: Read | None = None
        self.handle(s.Started())
        for file in host.written.values():
            self.notice(file)

    def _open_source(self) -> Any:
        return FileSource(self.kernel, self.host)

    def end(self) -> None:
        """It died."""

    def notice(self, file: File) -> None:
        """The source will find this file, sooner or later."""
        if not file.done:
            late = self.kernel.chance(0.2)
            self.soon(self.kernel.between(0.0, 1.0 if late else 0.02), self._find, file)

    def _find(self, file: File) -> None:
        if not file.done:
            self.handle(s.Found({file.stream: self.source.position(file)}))

    def redirect(self, chain: tuple[str, ...]) -> None:
        """Its masters say another chain."""
        self.core.redirect(chain)

    def handle(self, event: s.Event) -> None:
        """Give the core an event and perform what follows, in order; the process may die on the way."""
        if not self.alive:
            return
        commands = self.core.handle(event)
        if not isinstance(event, s.WasRead):
            self.kernel.note(self.name, event)
        for command in commands:
            self._perform(command)
            if self.ended_s is None and self.kernel.chance(self.p_crash_between_commands):
                self.kernel.fault("crash_between_commands", self.name)
                self._world.crash_agent(self)
            if self.ended_s is not None:
                return
        self._check()
        self.look()

    def _perform(self, command: s.Command) -> None:
        self.kernel.note(self.name, command)
        match command:
            case s.SendRead():
                self._send_batch(command.rewinds)
            case s.Seek():
                self.source.seek(command.stream, command.position)
            case s.Acknowledge():
                self._acknowledge(command)
            case s.Pause():
                self._pause(command.attempt)
            case s.Connect():
                collector = self._world.collectors.get(command.destination)
                self._world.network.connect(self, command.connection, collector)
            case s.Close():
                self._close()
            case s.Halt():
                self._halt()
            case s.Recover():
                self._world.ledger.check_acked(self.name, self.host, command.committed)
                self._recover(command.committed)
            case s.SendHello() | s.SendOpen() | s.SendRetire() | s.SendRelease():
                self._say(command)

    def _recover(self, committed: Mapping[str, int]) -> None:
        """A file source has its state, or goes by what it is told to open."""

    def _say(self, command: s.SendHello | s.SendOpen | s.SendRetire | s.SendRelease) -> None:
        connection = self.connection
        if connection is None:
            return
        number = connection.number
        match command:
            case s.SendHello():
                connection.up(
                    r.HelloReceived(
                        number,
                        command.sender,
                        command.instance,
                        command.instance_epoch,
                        command.ack_on_receipt,
                    )
                )
            case s.SendOpen():
                connection.up(r.OpenReceived(number, dict(command.positions)))
            case s.SendRetire():
                connection.up(r.RetireReceived(number, command.streams))
            case s.SendRelease():
                connection.up(r.ReleaseReceived(number))

    def _send_batch(self, rewinds: int) -> None:
        batch, connection = self._batch, self.connection
        assert batch is not None, "told to send what was not read"
        assert connection is not None, "told to send without a connection"
        connection.up(
            r.BatchReceived(
                connection.number, batch.stream, batch.start, batch.end, batch.count, rewinds=rewinds
            )
        )

    def _acknowledge(self, command: s.Acknowledge) -> None:
        self._world.ledger.check_acked(self.name, self.host, command.positions)
        for stream, position in command.positions.items():
            self.source.acknowledge(stream, position)
        if self.kernel.chance(0.3):
            self.source.save()

    def _pause(self, attempt: int) -> None:
        longest_s = min(BACKOFF_S_MAX, 0.1 * 2 ** min(attempt, 10))
        self.soon(
            self.kernel.between(0.5, 1.0) * longest_s if attempt else 0.0, self.handle, s.WaitOver(attempt)
        )

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.agent_closes()
            self.connection = None

    def _halt(self) -> None:
        self.halted = True
        self._world.agent_halts(self)

    # Reading.

    def look(self) -> None:
        """Read if there is something to read and room for it."""
        if self._is_reading or not self.alive or self.core.credit_bytes <= 0:
            return
        for file in self.source.newly_finished():
            self.soon(self.kernel.between(0.0, 0.3), self.handle, s.Finished({file.stream: file.size}))
        if self.source.has_data():
            self._is_reading = True
            self.soon(self.kernel.between(0.001, 0.03), self._read)

    def _read(self) -> None:
        credit = self.core.credit_bytes
        batch = self.source.read(credit) if credit > 0 else None
        if batch is None:
            self._is_reading = False
            return
        slow = self.kernel.chance(max(self._world.p_slow_read, self.host.p_slow))
        delay_s = self.kernel.between(0.02, 0.3) if slow else self.kernel.between(0.0, 0.005)
        self.soon(delay_s, self._was_read, batch, self.core.generation)

    def _was_read(self, batch: Read, generation: int) -> None:
        self._is_reading = False
        self._batch = batch
        self.handle(s.WasRead(batch.stream, batch.start, batch.end, batch.count, generation=generation))
        self._batch = None

    def _check(self) -> None:
        """The window: what the core says is in flight is what it remembers to have sent, and it is bounded."""
        core = self.core
        sent = sum(batch.payload_bytes for stream in _streams(core).values() for batch in stream.sent)
        if core.inflight_bytes != sent:
            self.kernel.fail(f"{self.name} counts {core.inflight_bytes} in flight, sent {sent}")
        if sent > WINDOW_EVENTS + BATCH_EVENTS_MAX:
            self.kernel.fail(f"{self.name} has {sent} in flight, window {WINDOW_EVENTS}")

    def unacked(self) -> list[str]:
        """Streams that the source was not told to be stored in full."""
        return [
            f"{self.name} was told {self.source.position(file)} of {file.stream}, which has {file.size}"
            for file in self.host.files.values()
            if not file.done and self.source.position(file) != file.size
        ]


def _streams(core: SenderCore) -> dict[str, Any]:
    return core._streams
