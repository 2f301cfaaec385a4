"""How far each of the source's streams was taken: put, durable, told. [pure]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qanat.batch import Batch
from qanat.channels import streams


class Positions:
    """By source stream, the position behind what was taken. What changes it is called with the log's guard held."""

    def __init__(self, taken: Mapping[str, int]) -> None:
        self.taken = dict(taken)
        self.safe = dict(taken)  # the same, of what is durable
        self.dropped: dict[str, int] = {}  # moved without a record
        self.forgotten: list[str] = []  # for the next record
        self._moved: dict[str, int] = {}  # since the last sync
        self._accepted: dict[str, int] = {}  # durable, and not told yet

    def untaken(self, batch: Batch) -> Batch | None:
        """What of a batch is new; None when nothing is. Raises ValueError when something is missing before it."""
        taken = self.taken.get(batch.stream)
        if taken is None or batch.start == taken:
            return batch if batch.start < batch.end else None
        if batch.start > taken:
            raise ValueError(
                f"a batch of {batch.stream!r} begins at {batch.start}, the last one ended at {taken}"
            )
        return streams.cut_before(batch, taken) if batch.end > taken else None

    def put(self, stream: str, end: int) -> None:
        """A record was written; it told what to forget."""
        self.taken[stream] = self._moved[stream] = end
        self.dropped.pop(stream, None)
        self.forgotten = []

    def drop(self, stream: str, end: int) -> None:
        """Moved on without a record. After a crash the source may offer these events again: they are not in the log."""
        self.taken[stream] = self._moved[stream] = self.dropped[stream] = end

    def forget(self, names: Sequence[str]) -> None:
        """They will never come again."""
        for name in names:
            for positions in (self.taken, self.safe, self.dropped, self._moved, self._accepted):
                positions.pop(name, None)
        self.forgotten += names

    @property
    def has_moved(self) -> bool:
        """Whether something was put since the last sync."""
        return bool(self._moved)

    def cut(self) -> dict[str, int]:
        """A sync begins: what it will make durable."""
        cut, self._moved = self._moved, {}
        return cut

    def not_synced(self, cut: Mapping[str, int]) -> None:
        """That sync failed."""
        self._moved = {**cut, **self._moved}

    def synced(self, cut: Mapping[str, int]) -> None:
        """That sync is done; streams may have been forgotten meanwhile."""
        known = {stream: end for stream, end in cut.items() if stream in self.taken}
        self.safe |= known
        self._accepted |= known

    def tell(self) -> dict[str, int]:
        """What became durable since the last call."""
        accepted, self._accepted = self._accepted, {}
        return accepted
