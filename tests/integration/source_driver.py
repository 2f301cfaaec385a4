"""A shell around a source for tests: seeks what is found, and reads all there is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from qanat.batch import Batch
from qanat.clock import ManualClock
from qanat.component import Context, StreamFinished, StreamFound


class SourceDriver:
    """One agent process after another over the same state directory. A subclass makes the source, and keeps what a collector
    would."""

    step_s = 1e-6  # what the clock advances by with each poll

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state_dir = root / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.clock = ManualClock()
        self.counts: Counter[str] = Counter()
        self.committed: dict[str, int] = {}
        self.finished: dict[str, int] = {}
        self.new()

    def made(self, context: Context) -> Any:
        """The source."""
        raise NotImplementedError

    def found(self, event: StreamFound) -> int:
        """Where to read it from."""
        raise NotImplementedError

    def new(self) -> None:
        """A new process."""
        self.next: dict[str, int] = {}
        self.source = self.made(Context("agent", "logical", "host", self.state_dir, self.clock, self._count))

    def _count(self, name: str, n: int) -> None:
        self.counts[name] += n

    def poll(self, timeout_s: float = 0.0) -> None:
        self.clock.advance(self.step_s)
        for event in self.source.poll(timeout_s):
            if isinstance(event, StreamFound):
                self.next[event.stream] = self.found(event)
                self.source.seek(event.stream, self.next[event.stream])
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
            batch = self.source.read(max_bytes)
            idle = 0 if batch is not None else idle + 1
            if batch is not None:
                assert batch.start == self.next[batch.stream], "batches of a stream must be contiguous"
                self.next[batch.stream] = batch.end
                got.append(batch)
        return got

    def close(self) -> None:
        self.source.close()
