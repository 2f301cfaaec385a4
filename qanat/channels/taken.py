"""How far a channel has taken each stream of its source. [pure]"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qanat.batch import Batch
from qanat.channels import streams


class Taken:
    """Positions by stream, and which of them moved since somebody asked."""

    def __init__(self, positions: Mapping[str, int] | None = None) -> None:
        self.positions = dict(positions or {})
        self._moved: set[str] = set()

    def new_part(self, batch: Batch) -> Batch | None:
        """What of `batch` was not taken yet; None when all of it was.

        Raises ValueError for a batch behind a hole: that is a bug in who feeds the channel."""
        known = self.positions.get(batch.stream, batch.start)
        if batch.start > known:
            raise ValueError(
                f"a batch of stream {batch.stream!r} begins at {batch.start}, the channel has taken it up to {known}: "
                f"events between them are missing; seek the source to {known}"
            )
        if batch.end <= known and batch.stream in self.positions:
            return None
        return streams.cut_before(batch, known)

    def advance(self, stream: str, end: int) -> None:
        """Taken up to `end`."""
        self.positions[stream] = end
        self._moved.add(stream)

    def forget(self, names: Iterable[str]) -> None:
        """These streams are over."""
        for name in names:
            self.positions.pop(name, None)
            self._moved.discard(name)

    def moved(self) -> dict[str, int]:
        """Positions that advanced since the last call."""
        moved = {name: self.positions[name] for name in self._moved}
        self._moved.clear()
        return moved
