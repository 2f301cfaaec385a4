"""A driver of `SpoolDir` (or `text`) for tests, which keeps what a collector would."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from agent.sources.spool_dir import SpoolDir, SpoolDirConfig
from agent.spooling.source import SpoolSource
from qanat.batch import Batch
from qanat.component import Context, StreamFound
from tests.integration.source_driver import SourceDriver


class SpoolDriver(SourceDriver):
    """See SourceDriver."""

    step_s = 1.0

    def __init__(self, root: Path, kind: type[SpoolSource] = SpoolDir, **options: Any) -> None:
        self.spool = root / "in"
        self.spool.mkdir(exist_ok=True)
        self.kind = kind
        self.config = (
            SpoolDirConfig(str(self.spool), **options) if kind is SpoolDir else kind.Config(**options)
        )
        self.now_ns = time.time_ns() - 10**15
        self.batches: list[Batch] = []
        super().__init__(root)

    def made(self, context: Context) -> SpoolSource:
        return self.kind(self.config, context)

    def found(self, event: StreamFound) -> int:
        position = max(event.position, self.committed.get(event.stream, 0))
        if position > event.position:
            self.source.acknowledge({event.stream: position})
        return position

    def drop(self, name: str, data: bytes) -> Path:
        """A file as it should appear: written elsewhere, and moved here, with a time of its own."""
        path = self.spool / name
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = self.root / "whole"
        whole.write_bytes(data)
        self.stamp(whole)
        whole.rename(path)
        return path

    def stamp(self, path: Path) -> None:
        self.now_ns += 10**7
        os.utime(path, ns=(self.now_ns, self.now_ns))

    # -- the agent ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.source.open()
        self.source.recover(dict(self.committed))

    def crash(self) -> None:
        """The process dies: nothing is saved; what was not committed will be read again."""
        spool = self.source._spool
        spool._reading.close()
        if spool._watch is not None:
            spool._watch.close()
        self.new()

    def commit(self, batches: list[Batch], *, acknowledge: bool = True) -> None:
        for batch in batches:
            assert batch.start == self.committed.get(batch.stream, 0), "a batch must continue what is stored"
            self.committed[batch.stream] = batch.end
            self.batches.append(batch)
            if not isinstance(batch.payload, bytes):
                positions = batch.payload.column("position").to_pylist()
                assert positions == sorted(set(positions))
                assert all(batch.start <= each < batch.end for each in positions)
            else:
                assert batch.payload.count(b"\n") == batch.count
        if acknowledge:
            self.acknowledge()

    def acknowledge(self) -> None:
        self.source.acknowledge(dict(self.committed))
        done = [name for name, end in self.finished.items() if self.committed.get(name, 0) >= end]
        if done:
            self.source.save()
            for name in done:  # only now does a collector forget them
                self.committed.pop(name, None)
                del self.finished[name]

    def sync(self) -> None:
        """Read and commit everything there is."""
        for _round in range(3):
            self.commit(self.read())
            self.poll()
        self.acknowledge()

    def rewind(self) -> None:
        for stream in self.next:
            if stream in {file.id for file in self.source._spool.files}:
                self.next[stream] = self.committed.get(stream, 0)
                self.source.seek(stream, self.next[stream])

    # -- what came out ------------------------------------------------------------------------------------------------

    def bodies(self) -> list[bytes]:
        found: list[bytes] = []
        for batch in self.batches:
            if isinstance(batch.payload, bytes):
                found += batch.payload.split(b"\n")[:-1]
            else:
                found += batch.payload.column("body").to_pylist()
        return found

    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.batches for row in batch.payload.to_pylist()]  # type: ignore[union-attr]

    def names(self) -> list[str]:
        """What is in the directory."""
        return sorted(str(path.relative_to(self.spool)) for path in self.spool.rglob("*") if path.is_file())
