"""A shell around `Tail` for tests: seeks what is found, reads all there is, and keeps what a collector would."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from agent.sources.tail import Tail, TailConfig
from qanat.batch import Batch
from qanat.clock import ManualClock
from qanat.component import Context, StreamFinished, StreamFound


class Driver:
    """One agent process after another over the same state directory."""

    def __init__(self, root: Path, *paths: str, **options: Any) -> None:
        self.root = root
        self.state_dir = root / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.logs = root / "logs"
        self.logs.mkdir(exist_ok=True)
        self.clock = ManualClock()
        self.counts: Counter[str] = Counter()
        options.setdefault("rescan", 1e6)
        self.config = TailConfig(paths=[str(self.logs / path) for path in paths], **options)
        self.committed: dict[str, int] = {}
        self.stored: dict[str, bytes] = {}  # by stream, in order of arrival
        self.arrivals: list[Batch] = []
        self.finished: dict[str, int] = {}
        self.tail = self._new()

    def _new(self) -> Tail:
        context = Context("agent", "logical", "host", self.state_dir, self.clock, self._count)
        self.next: dict[str, int] = {}
        self.found_at: dict[str, int] = {}
        return Tail(self.config, context)

    def _count(self, name: str, n: int) -> None:
        self.counts[name] += n

    def start(self, *, connect: bool = True) -> None:
        self.tail.open()
        if connect:
            self.tail.recover(dict(self.committed))

    def crash(self) -> None:
        """The process dies: nothing is saved; what was not committed will be sent again."""
        self.tail._handles.close()
        if self.tail._watch is not None:
            self.tail._watch.close()
        self.tail = self._new()

    def restart(self) -> None:
        self.tail.close()
        self.tail = self._new()
        self.start()

    def poll(self, timeout_s: float = 0.0) -> None:
        self.clock.advance(1e-6)
        for event in self.tail.poll(timeout_s):
            if isinstance(event, StreamFound):
                position = self.committed.get(event.stream, event.position)
                self.next[event.stream] = position
                self.found_at[event.stream] = position
                self.tail.seek(event.stream, position)
            else:
                assert isinstance(event, StreamFinished)
                assert event.stream not in self.finished or self.finished[event.stream] <= event.end
                self.finished[event.stream] = event.end

    def read(self, max_bytes: int = 1 << 20, *, batches: int | None = None) -> list[Batch]:
        """Poll and read until there is nothing more (or so many batches); checks that positions are contiguous."""
        got: list[Batch] = []
        idle = 0
        while idle < 3 and (batches is None or len(got) < batches):
            self.poll()
            batch = self.tail.read(max_bytes)
            idle = 0 if batch is not None else idle + 1
            if batch is not None:
                assert batch.start == self.next[batch.stream], "batches of a stream must be contiguous"
                self.next[batch.stream] = batch.end
                got.append(batch)
        return got

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

    def close(self) -> None:
        self.tail.close()
