"""An agent whose logical node has a channel: the real channel between a file source and the real sender core."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from qanat.batch import Batch, PayloadForm
from qanat.channels import streams
from qanat.channels.file import FileChannel, FileChannelConfig
from qanat.channels.memory import MemoryChannel, MemoryChannelConfig
from qanat.channels.reader import ChannelReader
from qanat.channels.wal.log import Log
from qanat.channels.wal.settings import Settings
from qanat.component import Channel, Context, Cursor, Full, StreamFinished, StreamFound
from qanat.delivery import sender_messages as s
from qanat.errors import RetryableError
from qanat.testing.simulation.agent import Agent
from qanat.testing.simulation.channel_ledger import event, identity
from qanat.testing.simulation.directory import ModelDirectory
from qanat.testing.simulation.files import BATCH_EVENTS_MAX, File, FileSource, Host, Read

if TYPE_CHECKING:
    from qanat.testing.simulation.world import World

CURSOR = "0"
CAPACITY_EVENTS = 40  # a few batches: often full
LOG_BYTES = 6000  # some 40 records of a log
SEGMENT_BYTES = 800  # a handful of records: segments begin and end all the time
P_SLOW_SYNC = 0.2  # so that a power cut finds something that is not synced
READ_BYTES_MAX = 1 << 16  # more than any record here has


@dataclass(slots=True)
class ChannelHost(Host):
    """A host whose node has a channel. To the sender its files are the channel's streams; what applications write is
    in `application`. `counted`: what its channels counted, over all processes, of which `ended` have ended. `is_exact`:
    nothing may be lost or doubled, whatever ends."""

    application: Host = field(default_factory=lambda: Host(""))
    full: Full = Full.BLOCK
    is_exact: bool = False
    ended: int = 0
    directory: ModelDirectory | None = None
    counted: Counter[str] = field(default_factory=Counter)

    @property
    def written(self) -> dict[str, File]:
        """What applications write to."""
        return self.application.files


class ChannelSource:
    """The channel's reader, as the simulated agent uses a source."""

    def __init__(self, agent: ChannelAgent, reader: ChannelReader) -> None:
        self._agent = agent
        self.reader = reader
        reader.open()

    def seek(self, stream: str, position: int) -> None:
        """Read from here next."""
        self.reader.seek(stream, position)

    def read(self, max_events: int) -> Read | None:
        """The next batch; the ledger learns what its events are."""
        batch = self.reader.read(READ_BYTES_MAX)
        if batch is None:
            return None
        bodies = bytes(batch.payload).split(b"\n")[:-1]
        self._agent.ledger.read(batch.stream, batch.start, [identity(body) for body in bodies])
        return Read(batch.stream, batch.start, batch.end, batch.count)

    def has_data(self) -> bool:
        """Something can be read now, if only what is gone."""
        return self.reader.has_data

    def newly_finished(self) -> list[File]:
        """A channel's stream ends with its process."""
        return []

    def acknowledge(self, stream: str, position: int) -> None:
        """Move the cursor."""
        self.reader.acknowledge({stream: position})

    def save(self) -> None:
        """Keep the cursor, if the disk takes it; collectors know it better."""
        with contextlib.suppress(RetryableError):
            self.reader.save()


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


class ChannelAgent(Agent):
    """One process. Its feed reads files into the channel; the core sends from the channel."""

    host: ChannelHost

    def __init__(self, world: World, host: ChannelHost, instance: str, chain: tuple[str, ...]) -> None:
        self._held: Batch | None = None
        self._is_feeding = False
        self._is_syncing = False
        super().__init__(world, host, instance, chain)

    def _open_source(self) -> ChannelSource:
        host = self.host
        self.ledger = self._world.ledger.channels
        context = Context(host.name, host.name, host.name, Path(host.name), count=self._count)
        self.channel = self._open_channel(context)
        self._taken = dict(self.channel.open([Cursor(CURSOR)]))
        self.files = FileSource(self.kernel, host.application)
        reader = self.channel.reader(CURSOR)
        assert isinstance(reader, ChannelReader)
        self._add_stream(reader.stream)
        return ChannelSource(self, reader)

    def _open_channel(self, context: Context) -> Channel:
        directory = self.host.directory
        if directory is not None:
            return LogChannel(directory, context, self.name)
        config = MemoryChannelConfig(events=CAPACITY_EVENTS, full=self.host.full)
        channel = MemoryChannel(config, context)
        channel.stream = streams.stream_name(self.host.name, self.name)  # as good as random, and replays
        return channel

    def _add_stream(self, stream: str) -> None:
        self.stream = stream
        if stream not in self.host.files:
            self.host.files[stream] = File(stream, 0, 0)
            self._world.ledger.add_stream(self.host.name, stream, 0)
            self.ledger.add_stream(self.host, stream)

    def _count(self, name: str, number: int) -> None:
        self.host.counted[name] += number

    def end(self) -> None:
        """What waits in memory is gone, and its stream is over."""
        self.host.ended += 1
        self.host.files[self.stream].done = not self.host.is_exact

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

    def look(self) -> None:
        """Also feed, if there is something to feed."""
        if self.alive and not self._is_feeding and (self._held is not None or self.files.has_data()):
            self._is_feeding = True
            self.soon(self.kernel.between(0.001, 0.04), self._feed)
        super().look()

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
        self.look()

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
        except OSError as error:
            self.kernel.note(self.name, f"log not synced: {error}")
        self._settle()
        if self.channel.log.positions.has_moved or self.channel.log.can_reap or self._held is not None:
            self._sync_soon()
        self.look()

    def _read_file(self) -> Batch | None:
        read = self.files.read(BATCH_EVENTS_MAX)
        if read is None:
            return None
        payload = b"".join(event(read.stream, at) + b"\n" for at in range(read.start, read.end))
        count = read.end - read.start
        return Batch(read.stream, read.start, read.end, count, PayloadForm.LINES, payload, 0, {})

    def _put(self, batch: Batch) -> bool:
        try:
            return self.channel.put(batch)
        except RetryableError as error:
            self.kernel.note(self.name, f"channel refuses: {error}")
            return False

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
        self.host.files[self.stream].size = self._bounds()[1]

    def _bounds(self) -> tuple[int, int]:
        reader: ChannelReader = self.source.reader
        return reader.bounds()

    # The core.

    def _recover(self, committed: Mapping[str, int]) -> None:
        self.source.reader.recover(committed)
        self.soon(0.0, self._hear)

    def _hear(self) -> None:
        for news in self.source.reader.poll(0.0):
            if isinstance(news, StreamFound):
                self.handle(s.Found({news.stream: news.position}))
            elif isinstance(news, StreamFinished):
                self.handle(s.Finished({news.stream: news.end}))

    def unacked(self) -> list[str]:
        """What is still on its way to the channel or through it."""
        missing = [
            f"{self.name} has taken {self.files.position(file)} of {file.stream}, which has {file.size}"
            for file in self.host.application.files.values()
            if not file.done and self.files.position(file) != file.size
        ]
        end = self._bounds()[1]
        if self.source.reader.position() != end:
            missing.append(
                f"{self.name} is at {self.source.reader.position()} of {self.stream}, which has {end}"
            )
        return missing
