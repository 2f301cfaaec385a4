"""A destination of a channel: an agent's sender that reads from the channel with a cursor of its own."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qanat.channels.reader import ChannelReader
from qanat.component import Cursor, Full, StreamFinished, StreamFound
from qanat.delivery import sender_messages as s
from qanat.errors import RetryableError
from qanat.testing.simulation.agent import Agent
from qanat.testing.simulation.channel_ledger import identity
from qanat.testing.simulation.directory import ModelDirectory
from qanat.testing.simulation.files import File, Host, Read

if TYPE_CHECKING:
    from qanat.testing.simulation.channels import ChannelAgent

READ_BYTES_MAX = 1 << 16  # more than any record here has


@dataclass(slots=True)
class Node:
    """A logical node with a channel. What applications write is in `application`. `counted`: what its channels counted, over
    all processes, of which `ended` have ended. `is_exact`: nothing may be lost or doubled, whatever ends; but for what a
    destination that is not `required` loses when there is no room."""

    application: Host
    full: Full = Full.BLOCK
    is_exact: bool = False
    directory: ModelDirectory | None = None
    ended: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    hosts: list[ChannelHost] = field(default_factory=list)

    @property
    def cursors(self) -> list[Cursor]:
        """As the real agent names and requires them."""
        return [Cursor(host.name, host.required) for host in self.hosts]


@dataclass(slots=True)
class ChannelHost(Host):
    """A destination of a node with a channel. To its sender its files are the channel's streams."""

    node: Node = field(default_factory=lambda: Node(Host("")))
    required: bool = True

    @property
    def written(self) -> dict[str, File]:
        """What applications write to."""
        return self.node.application.files

    @property
    def directory(self) -> ModelDirectory | None:
        """Of the channel, if it is a log."""
        return self.node.directory

    @property
    def is_first(self) -> bool:
        """It has the node's name."""
        return self.node.hosts[0] is self


class ChannelSource:
    """The channel's reader, as the simulated agent uses a source."""

    def __init__(self, agent: Destination, reader: ChannelReader) -> None:
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


class Destination(Agent):
    """One sender of a process, `process`, which has the channel. It lives, sleeps and dies with it."""

    host: ChannelHost
    process: ChannelAgent

    def _open_source(self) -> ChannelSource:
        self.ledger = self._world.ledger.channels
        reader = self.process.channel.reader(self.host.name)
        assert isinstance(reader, ChannelReader)
        return ChannelSource(self, reader)

    def _bounds(self) -> tuple[int, int]:
        reader: ChannelReader = self.source.reader
        return reader.bounds()

    def notice(self, file: File) -> None:
        """Files are the feed's business."""

    def look(self) -> None:
        """Also feed: there may be room now."""
        super().look()
        self.process.look_at_feed()

    def pause(self) -> None:
        """All of the process."""
        for each in self.process.senders:
            each.paused = True

    def wake(self) -> None:
        """All of the process."""
        for each in self.process.senders:
            super(Destination, each).wake()

    def end(self) -> None:
        """The process died."""
        if self is not self.process:
            self.process.end()

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
        """What is still on its way through the channel."""
        end, at = self._bounds()[1], self.source.reader.position()
        return (
            [f"{self.name} is at {at} of {self.source.reader.stream}, which has {end}"] if at != end else []
        )
