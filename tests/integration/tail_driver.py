"""A driver of `Tail` for tests, which keeps what a collector would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.sources.tail import Tail, TailConfig
from qanat.batch import Batch
from qanat.component import Context, StreamFound
from tests.integration.source_driver import SourceDriver


class Driver(SourceDriver):
    """See SourceDriver."""

    def __init__(self, root: Path, *paths: str, **options: Any) -> None:
        self.logs = root / "logs"
        self.logs.mkdir(exist_ok=True)
        options.setdefault("rescan", 1e6)
        self.config = TailConfig(paths=[str(self.logs / path) for path in paths], **options)
        self.stored: dict[str, bytes] = {}  # by stream, in order of arrival
        self.arrivals: list[Batch] = []
        super().__init__(root)

    @property
    def tail(self) -> Tail:
        return self.source

    def made(self, context: Context) -> Tail:
        self.found_at: dict[str, int] = {}
        return Tail(self.config, context)

    def found(self, event: StreamFound) -> int:
        self.found_at[event.stream] = self.committed.get(event.stream, event.position)
        return self.found_at[event.stream]

    def start(self, *, connect: bool = True) -> None:
        self.tail.open()
        if connect:
            self.tail.recover(dict(self.committed))

    def crash(self) -> None:
        """The process dies: nothing is saved; what was not committed will be sent again."""
        self.tail._handles.close()
        if self.tail._watch is not None:
            self.tail._watch.close()
        self.new()

    def restart(self) -> None:
        self.tail.close()
        self.new()
        self.start()

    def commit(self, batches: list[Batch], *, acknowledge: bool = True) -> None:
        """Store batches as a collector would, with its check of positions."""
        for batch in batches:
            position = self.committed.get(batch.stream)
            assert position is None or batch.start == position, "a batch must continue what is stored"
            self.committed[batch.stream] = batch.end
            self.stored[batch.stream] = self.stored.get(batch.stream, b"") + bytes(batch.payload)  # type: ignore[arg-type]
            self.arrivals.append(batch)
        if acknowledge:
            self.tail.acknowledge({batch.stream: self.committed[batch.stream] for batch in batches})

    def sync(self) -> None:
        """Read and commit everything there is."""
        self.commit(self.read())

    def settle(self) -> None:
        """Let `rotate_wait` pass, and read what that sets free, until nothing moves."""
        for _round in range(6):
            self.sync()
            self.clock.advance(self.config.rotate_wait + 0.1)
            self.poll()
        self.sync()

    def rewind(self) -> None:
        """A new connection: everything starts over from what is committed."""
        self.tail.recover(dict(self.committed))
        for stream, start in list(self.next.items()):
            if self.tail._registry.get(stream) is not None:
                position = self.committed.get(stream, self.found_at[stream])
                self.next[stream] = min(position, start)
                self.tail.seek(stream, self.next[stream])

    def output(self) -> bytes:
        """Everything stored, in order of arrival."""
        return b"".join(bytes(batch.payload) for batch in self.arrivals)  # type: ignore[arg-type]


MakeDriver = Callable[..., Driver]


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
