"""What the cluster does now: rates from the programs' metrics, positions from the coordination store."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from qanat.coordination.store import Store
from qanat.delivery.documents import claim_path, commit_path, decode_claim, decode_record, merged
from qanat.demo.asking import Said, ask_masters, get
from qanat.demo.logs import LogFile, inode
from qanat.demo.plan import ADDED, AGENTS, BUSY_SINK, COLLECTORS, LINE_BYTES, LOGS_SINK, Plan
from qanat.errors import RetryableError

_RATE_OVER_S = 2.0  # long enough to be calm, short enough to show a death

# An agent counts what it read, a collector what it stored.
_SAMPLE = re.compile(rb"^qanat_(?:read|stored)_(events|bytes)_total\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Meter:
    """Rates of one program, from its ever-growing counters."""

    port: int
    is_answering: bool = False
    samples: list[tuple[float, float, float]] = field(default_factory=list)  # s, events, bytes

    async def look(self) -> None:
        """Ask it once."""
        text = await get(self.port, "/metrics")
        self.is_answering = text is not None
        if text is None:
            self.samples.clear()
            return
        events, size = (
            sum(float(value) for kind, value in _SAMPLE.findall(text) if kind == what)
            for what in (b"events", b"bytes")
        )
        if self.samples and events < self.samples[-1][1]:
            self.samples.clear()  # another life
        now_s = time.monotonic()
        self.samples = [sample for sample in self.samples if sample[0] > now_s - _RATE_OVER_S]
        self.samples.append((now_s, events, size))

    @property
    def rates(self) -> tuple[float, float]:
        """Events and bytes a second."""
        if len(self.samples) < 2:
            return 0.0, 0.0
        (first_s, *first), (last_s, *last) = self.samples[0], self.samples[-1]
        events, size = ((b - a) / (last_s - first_s) for a, b in zip(first, last, strict=True))
        return events, size


@dataclass(frozen=True, slots=True)
class FileRow:
    """One watched file: whole lines that exist in it, and how far they are committed in storage, in bytes."""

    name: str
    size: int
    position: int


@dataclass(frozen=True, slots=True)
class Busy:
    """All incarnations of the busy files together, in events."""

    written: int = 0
    stored: int = 0
    rotations: int = 0


class Watch:
    """Looks at everything; what is not there now keeps its last value."""

    def __init__(self, plan: Plan, logs: Iterable[LogFile], store: Store) -> None:
        self._plan = plan
        self._logs = tuple(logs)
        self._store = store
        self._positions: dict[int, int] = {}  # by inode, the last seen
        self._present: set[int] = set()  # inodes that had a position at the last look
        self.meters = {name: Meter(port) for name, port in plan.http.items()}
        self.owners: dict[str, str] = {}  # agent -> the collector that its busy file goes to
        self.said: Said | None = None  # by a master; None while none answers
        self.files: list[FileRow] = []
        self.busy = Busy()

    async def look(self) -> None:
        """Ask all programs and the store."""
        await asyncio.gather(
            *(meter.look() for meter in self.meters.values()), self._look_at_positions(), self._ask()
        )
        self.busy = self._all_busy()
        self.files = [*(self._row(self._plan.busy(agent)) for agent in AGENTS),
                      *(FileRow(str(file.path), file.look(), self._positions.get(file.inode, 0))
                        for file in self._logs)]  # fmt: skip

    @property
    def is_level(self) -> bool:
        """Every whole line of every file is in storage."""
        return self.busy.stored == self.busy.written and all(row.position >= row.size for row in self.files)

    async def _ask(self) -> None:
        answering = [name for name in self._plan.masters if self.meters[name].is_answering]
        self.said = await ask_masters([self._plan.http[name] for name in answering])

    async def _look_at_positions(self) -> None:
        agents = {sender: agent for agent, sender in self._plan.senders.items()}
        senders = [*agents, *self._plan.log_senders]
        sinks = [f"{name}/{sink}" for name in (*COLLECTORS, ADDED) for sink in (BUSY_SINK, LOGS_SINK)]
        paths = [*map(claim_path, senders), *map(commit_path, sinks)]
        try:
            values = [node.value if node else None for node in await self._store.get_many(paths)]
        except RetryableError:  # busy: the next look is soon
            return
        records = {sink: decode_record(value or b"", path)
                   for sink, value, path in zip(sinks, values[len(senders):], paths[len(senders):], strict=True)}  # fmt: skip
        self._present.clear()
        for sender, value, path in zip(senders, values, paths, strict=False):
            if value is None:
                continue
            claim = decode_claim(value, path)
            recorded = records[claim.owner].positions.get(sender, {}) if claim.owner else {}
            positions = {inode(stream): at for stream, at in merged(claim.base, recorded).items()}
            self._positions.update(positions)
            self._present.update(positions)
            if sender in agents:
                self.owners[agents[sender]] = claim.owner.partition("/")[0]

    def _all_busy(self) -> Busy:
        written = stored = rotations = 0
        for agent in AGENTS:
            path = self._plan.busy(agent)
            files = _incarnations(path)
            rotations += len(files) - 1
            later = False  # a file's predecessor is stored to its end before anything of the file itself
            for number, size in reversed(files):
                written += size
                position = self._positions.get(number)
                if later or (position is not None and number not in self._present):
                    position = size  # stored to its end; the protocol may have forgotten it since
                stored += min(size, position or 0)
                later |= bool(position)
        return Busy(written // LINE_BYTES, stored // LINE_BYTES, rotations)

    def _row(self, path: Path) -> FileRow:
        number, size = _incarnations(path)[-1]
        return FileRow(str(path), size, min(size, self._positions.get(number, 0)))


def _incarnations(path: Path) -> list[tuple[int, int]]:
    """Inode and size of a file and its predecessors (`NAME.1` is the first), the oldest first."""
    try:
        status = (
            path.stat()
        )  # before the others are listed: what is renamed meanwhile is seen twice, not missed
    except FileNotFoundError:  # between rename and create
        status = None
    numbered = sorted((int(each.suffix[1:]), each) for each in path.parent.glob(f"{path.name}.*"))
    found = [(rotated.st_ino, rotated.st_size) for _, each in numbered for rotated in (each.stat(),)]
    if status is not None and status.st_ino not in (number for number, _ in found):
        found.append((status.st_ino, status.st_size))
    return found or [(0, 0)]
