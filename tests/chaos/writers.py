"""Applications that write numbered lines into log files, and rotate them in every way."""

from __future__ import annotations

import random
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.integration.lines import append, numbered

# About 1.5 MB/s together: two cores also have to run the cluster, and every file of a round fits on a small disk.
TICK_S = 0.02
LINES_MAX = 1_500
RENAME_CHANCE = 0.03
CREATE_CHANCE = 0.05


@dataclass(slots=True)
class Log:
    """One log file. Renamed, it keeps its numbering; as a new file it begins a stream of its own."""

    directory: Path
    name: str
    by_rename: bool
    agent_log: Path
    lines: int = 0
    rotations: int = 0

    @property
    def stream(self) -> str:
        return self.name if self.by_rename else f"{self.name}-{self.rotations:04}"

    @property
    def path(self) -> Path:
        return self.directory / f"{self.stream}.log"

    def write(self, lines: int) -> int:
        written = append(self.path, numbered(self.lines, self.lines + lines, self.stream))
        self.lines += lines
        return written

    def may_rotate(self) -> bool:
        """The first file of a path that leaves it before the agent looked is nobody's (docs/tail.md): one must have been noted.

        Files that get new names are found under them at any time.
        """
        if not self.by_rename:
            return True
        if not self.path.exists():
            return False
        return f"path={self.path} " in self.agent_log.read_text(errors="replace")

    def rotate(self, late_lines: int) -> int:
        """The old file still gets some lines after its rename, as from a process that has it open."""
        self.rotations += 1
        if not self.by_rename:
            self.lines = 0
            return 0
        old = self.path.with_name(f"{self.path.name}.{self.rotations}")
        self.path.rename(old)
        written = append(old, numbered(self.lines, self.lines + late_lines, self.stream))
        self.lines += late_lines
        return written

    def copytruncate(self) -> None:
        """What was written between copy and truncation would be lost: only for files at rest."""
        self.rotations += self.by_rename
        if self.path.exists():
            shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.{self.rotations}.copy"))
            self.path.write_bytes(b"")


class Writers(threading.Thread):
    """Writes until `finish`; `lines`, `bytes` and `streams` say what there is. Pausable with `hold`."""

    def __init__(self, logs: list[Log], seed: int, bytes_max: int) -> None:
        super().__init__(name="writers")
        self.logs = logs
        self.lines = self.bytes = 0
        self.streams: set[str] = set()
        self.hold = threading.Lock()
        self._bytes_max = bytes_max
        self._chance = random.Random(seed)
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(TICK_S):
            with self.hold:
                if self.bytes < self._bytes_max:
                    self._tick(self._chance.choice(self.logs))

    def _tick(self, log: Log) -> None:
        lines = self._chance.randrange(1, LINES_MAX)
        self.bytes += log.write(lines)
        self.lines += lines
        self.streams.add(log.stream)
        wanted = self._chance.random() < (RENAME_CHANCE if log.by_rename else CREATE_CHANCE)
        if wanted and log.may_rotate():
            late = self._chance.randrange(3)
            self.bytes += log.rotate(late)
            self.lines += late if log.by_rename else 0

    def finish(self) -> None:
        self._end.set()
        self.join()
