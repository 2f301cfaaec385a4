"""Growing files of a host, and a source that reads them: what `tail` is to the real agent."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from qanat.testing.simulation.kernel import Kernel

BATCH_EVENTS_MAX = 8  # small, so that a window has many batches
CALM_BATCH_EVENTS_MAX = 16  # after healing: half a window, what is left by then is some hundred events


@dataclass(slots=True)
class File:
    """One stream. It holds the events `[start, size)`; once `finished` it does not grow; `done`: acknowledged, deleted.

    `before`: the file that this one took the place of, which is read first (rotation).
    """

    stream: str
    start: int
    size: int
    finished: bool = False
    done: bool = False
    before: File | None = None


@dataclass(slots=True)
class Host:
    """What outlives an agent process: its files, and the positions that its source has saved."""

    name: str
    files: dict[str, File] = field(default_factory=dict)
    saved: dict[str, int] = field(default_factory=dict)
    older: list[dict[str, int]] = field(default_factory=list)
    ack_on_receipt: bool = False
    suffix: str = ""  # of its streams in the ledger: several senders may have one of that name
    p_slow: float = 0.0  # of its reads

    @property
    def written(self) -> dict[str, File]:
        """What applications write to."""
        return self.files

    def save(self, acked: dict[str, int]) -> None:
        """Keep these positions; older ones may come back (a restored backup)."""
        self.older.append(self.saved)
        self.saved = dict(acked)


class Read(msgspec.Struct, frozen=True):
    """A batch that the source yielded; `count` events, none where they are gone."""

    stream: str
    start: int
    end: int
    count: int


class FileSource:
    """Reads a host's files from where it was told to."""

    def __init__(self, kernel: Kernel, host: Host) -> None:
        self._kernel = kernel
        self._host = host
        self.acked = {
            file.stream: host.saved.get(file.stream, file.start)
            for file in host.files.values()
            if not file.done
        }
        self._at: dict[str, int] = {}
        self._told_finished: set[str] = set()

    def position(self, file: File) -> int:
        """Where this file would be started."""
        return self.acked.setdefault(file.stream, self._host.saved.get(file.stream, file.start))

    def seek(self, stream: str, position: int) -> None:
        """Read from here next."""
        file = self._host.files[stream]
        if not file.start <= position <= file.size:
            self._kernel.fail(
                f"source told to seek {stream} to {position}, it has {file.start} to {file.size}"
            )
        self._at[stream] = position

    def read(self, max_events: int) -> Read | None:
        """The next batch of some stream."""
        ready = [name for name, at in self._at.items() if self._readable(name, at)]
        if not ready:
            return None
        stream = self._kernel.random.choice(ready)
        start = self._at[stream]
        most = min(self._host.files[stream].size - start, max_events)
        if self._kernel.is_calm:
            end = start + min(most, CALM_BATCH_EVENTS_MAX)
        else:
            end = start + self._kernel.random.randint(1, min(most, BATCH_EVENTS_MAX))
        self._at[stream] = end
        return Read(stream, start, end, end - start)

    def has_data(self) -> bool:
        """Something can be read now."""
        for name, at in self._at.items():  # noqa: SIM110 - a generator costs more than the look
            if self._readable(name, at):
                return True
        return False

    def _readable(self, stream: str, at: int) -> bool:
        file = self._host.files[stream]
        return at < file.size and not file.done and self._is_its_turn(file)

    def _is_its_turn(self, file: File) -> bool:
        before = file.before
        while before is not None:
            if not before.done and self._at.get(before.stream, -1) < before.size:
                return False
            before = before.before
        return True

    def newly_finished(self) -> list[File]:
        """Files that were read to an end that is final, each told once."""
        found = []
        for name, at in self._at.items():
            file = self._host.files[name]
            if file.finished and at == file.size and name not in self._told_finished:
                self._told_finished.add(name)
                found.append(file)
        return found

    def acknowledge(self, stream: str, position: int) -> None:
        """Stored up to here. A finished file that is wholly stored is durably forgotten before anybody is told."""
        file = self._host.files[stream]
        self.acked[stream] = max(position, self.acked.get(stream, file.start))
        if file.finished and position >= file.size:
            file.done = True

    def save(self) -> None:
        """Persist the positions."""
        self._host.save(self.acked)
