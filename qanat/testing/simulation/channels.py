"""An agent whose logical node has a channel: the real channel between a file source and real sender cores, one for each
destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.batch import Batch, PayloadForm
from qanat.channels import streams
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.channels.memory import MemoryChannel, MemoryChannelConfig
from qanat.channels.wal.log import Log
from qanat.channels.wal.settings import Settings
from qanat.component import Channel, Context, Cursor
from qanat.errors import RetryableError
from qanat.testing.simulation.channel_ledger import event
from qanat.testing.simulation.destination import ChannelHost, ChannelSource, Destination
from qanat.testing.simulation.directory import ModelDirectory
from qanat.testing.simulation.files import BATCH_EVENTS_MAX, File, FileSource

if TYPE_CHECKING:
    from qanat.testing.simulation.world import World

CAPACITY_EVENTS = 40  # a few batches: often full
LOG_BYTES = 6000  # some 40 records of a log
SEGMENT_BYTES = 800  # a handful of records: segments begin and end all the time
P_SAVE = 0.1  # of cursors, after a sync: in reality once a second
P_SLOW_SYNC = 0.2  # so that a power cut finds something that is not synced


class LogChannel(FileChannel):
    """The real log and its reader on a model disk; the agent does what the thread of the real one does."""

    def __init__(self, directory: ModelDirectory, context: Context, life: str) -> None:
        super().__init__(FileChannelConfig(), context)
        self.log = Log(
            directory,
            Settings(LOG_BYTES, SEGMENT_BYTES),
            new_incarnation=lambda: life,
            count=context.count,
            guard=self.changed,
        )

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        """Recover. Raises RetryableError."""
        return self.log.open(cursors)


class ChannelAgent(Destination):
    """One process, and the sender of its first destination. Its feed reads files into the channel; each sender reads from it."""

    def __init__(self, world: World, host: ChannelHost, instance: str, chain: tuple[str, ...]) -> None:
        self._held: Batch | None = None
        self._is_feeding = False
        self._is_syncing = False
        self.process = self
        self.senders: list[Destination] = [self]
        super().__init__(world, host, instance, chain)
        for file in host.written.values():
            self.notice(file)
        for other in host.node.hosts[1:]:
            self.senders.append(_sender(self, other, world.chains[other.name]))

    def _open_source(self) -> ChannelSource:
        node = self.host.node
        context = Context(
            self.host.name, self.host.name, self.host.name, Path(self.host.name), count=self._count
        )
        self.channel = self._open_channel(context)
        self._taken = dict(self.channel.open(node.cursors))
        self.files = FileSource(self.kernel, node.application)
        source = super()._open_source()
        self._add_stream(source.reader.stream)
        return source

    def _open_channel(self, context: Context) -> Channel:
        directory = self.host.directory
        if directory is not None:
            return LogChannel(directory, context, self.name)
        config = MemoryChannelConfig(events=CAPACITY_EVENTS, full=self.host.node.full)
        channel = MemoryChannel(config, context)
        channel.stream = streams.stream_name(self.host.name, self.name)  # as good as random, and replays
        return channel

    def _add_stream(self, stream: str) -> None:
        self.stream = stream
        for host in self.host.node.hosts:
            if stream not in host.files:
                host.files[stream] = File(stream, 0, 0)
                self._world.ledger.add_stream(host, stream, 0)

    def _count(self, name: str, number: int) -> None:
        self.host.node.counted[name] += number

    def end(self) -> None:
        """What waits in memory is gone, and its stream is over."""
        node = self.host.node
        node.ended += 1
        for host in node.hosts:
            host.files[self.stream].done = not node.is_exact

    # The feed.

    def notice(self, file: File) -> None:
        """The source will find this file; the channel says how far it was taken."""
        if not file.done:
            self.soon(self.kernel.between(0.0, 0.2), self._find, file)

    def _find(self, file: File) -> None:
        if file.done:
            return
        taken = self._taken.get(file.stream, 0)
        if taken > self.files.position(file):
            self.files.acknowledge(file.stream, taken)
        self.files.seek(file.stream, self.files.position(file))
        self.look()

    def look_at_feed(self) -> None:
        """Feed, if there is something to feed."""
        if self.alive and not self._is_feeding and (self._held is not None or self.files.has_data()):
            self._is_feeding = True
            longest_s = 0.04 if self._held is None else 0.12  # what was refused once may be refused again
            self.soon(self.kernel.between(0.001, longest_s), self._feed)

    def _look_all(self) -> None:
        for sender in self.senders:
            sender.look()

    def _feed(self) -> None:
        self._is_feeding = False
        if self._held is None:
            self._held = self._read_file()
        if self._held is not None and self._put(self._held):
            self._held = None
            if self._is_cut_off():
                return
        self._settle()
        self._sync_soon()
        self._look_all()

    def _is_cut_off(self) -> bool:
        """The power is cut now, while the disk has nothing of what was put last, or a part."""
        if self.host.directory is None or not self.kernel.chance(self.p_power_cut_before_sync):
            return False
        self.kernel.fault("agent_power_cut", self.name, "before a sync")
        self._world.crash_agent(self, power=True)
        return True

    def _sync_soon(self) -> None:
        """Group commit, and what else the log's own thread does."""
        if isinstance(self.channel, LogChannel) and not self._is_syncing:
            self._is_syncing = True
            slow = self.kernel.chance(P_SLOW_SYNC) and not self._world.healing
            self.soon(self.kernel.between(0.005, 0.8 if slow else 0.06), self._sync)

    def _sync(self) -> None:
        self._is_syncing = False
        assert isinstance(self.channel, LogChannel)
        try:
            self.channel.log.sync()
            self.channel.log.reap()
            if self.kernel.chance(P_SAVE):
                self.channel.log.cursors.save_all()
        except (OSError, RetryableError) as error:
            self.kernel.note(self.name, f"log not synced: {error}")
        self._settle()
        if self.channel.log.positions.has_moved or self.channel.log.can_reap or self._held is not None:
            self._sync_soon()
        self._look_all()

    def _read_file(self) -> Batch | None:
        read = self.files.read(BATCH_EVENTS_MAX)
        if read is None:
            return None
        payload = b"".join(event(read.stream, at) + b"\n" for at in range(read.start, read.end))
        count = read.end - read.start
        return Batch(read.stream, read.start, read.end, count, PayloadForm.LINES, payload, 0, {})

    def _put(self, batch: Batch) -> bool:
        try:
            is_taken = self.channel.put(batch)
        except RetryableError as error:
            self.kernel.note(self.name, f"channel refuses: {error}")
            return False
        self._check_room(batch, is_taken)
        return is_taken

    def _check_room(self, batch: Batch, is_taken: bool) -> None:
        """It never has more than it may; and what nobody waits for makes nobody wait."""
        if isinstance(self.channel, LogChannel):
            size = self.channel.log.segments.bytes
            if size > LOG_BYTES + 2 * SEGMENT_BYTES:
                self.kernel.fail(f"the log of {self.name} has {size} bytes")
            return
        events = self._kept()
        if events > CAPACITY_EVENTS:
            self.kernel.fail(f"the channel of {self.name} has {events} events")
        wanted = self._bounds()[1] - self._expendable()
        if not is_taken and wanted + BATCH_EVENTS_MAX + batch.count <= CAPACITY_EVENTS:
            self.kernel.fail(f"the channel of {self.name} refuses events, it has to keep {wanted}")

    def _expendable(self) -> int:
        """What is before this nobody has to be waited for."""
        positions: list[tuple[bool, int]] = [
            (each.host.required, each.source.reader.position()) for each in self.senders
        ]
        required = [position for is_required, position in positions if is_required]
        return min(required) if required else max(position for _, position in positions)

    def _kept(self) -> int:
        fill = self.channel.fill()
        return 0 if fill is None else fill.events

    def _settle(self) -> None:
        """Tell the source what is safe; forget what is finished, and was durably forgotten by the source."""
        for stream, position in self.channel.accepted().items():
            self.files.acknowledge(stream, position)
        self.channel.forget([file.stream for file in self.files.newly_finished() if file.done])
        if self.kernel.chance(0.2):
            self.files.save()
        self._measure()

    def _measure(self) -> None:
        """How far the channel can be read."""
        end = self._bounds()[1]
        for host in self.host.node.hosts:
            host.files[self.stream].size = end

    def unacked(self) -> list[str]:
        """What is still on its way to the channel or through it, or stays there."""
        missing = [
            f"{self.name} has taken {self.files.position(file)} of {file.stream}, which has {file.size}"
            for file in self.host.written.values()
            if not file.done and self.files.position(file) != file.size
        ]
        if self._kept():
            missing.append(f"the channel of {self.name} keeps {self._kept()} events")
        return [*missing, *super().unacked()]


def _sender(process: ChannelAgent, host: ChannelHost, chain: tuple[str, ...]) -> Destination:
    sender = Destination.__new__(Destination)
    sender.process = process
    number = process.name.rpartition(".")[2]
    Destination.__init__(sender, process._world, host, f"{host.name}.{number}", chain)
    return sender
