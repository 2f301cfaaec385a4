"""Where the destinations of a channel are, and whom it waits for. [pure]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qanat.component import Cursor

# Ranges of lost events that are remembered, so that a rewind that begins before one counts what is before it. Who forgets the
# lowest counts them again if somebody rewinds that far.
RANGES_MAX = 64


class Cursors:
    """Numbers of the next event that each cursor has not acknowledged."""

    def __init__(
        self, cursors: Sequence[Cursor], oldest: int, known: Mapping[str, int] | None = None
    ) -> None:
        self._required = {cursor.name for cursor in cursors if cursor.required}
        self._counted: dict[str, list[tuple[int, int]]] = {}  # which lost events of a cursor were counted
        self.at = {cursor.name: (known or {}).get(cursor.name, oldest) for cursor in cursors}

    def __getitem__(self, name: str) -> int:
        return self.at[name]

    def move(self, name: str, position: int) -> None:
        """Acknowledged up to `position`; never back."""
        self.at[name] = max(position, self.at[name])

    def passed(self, end: int) -> int:
        """All cursors are here or beyond: what is before can go. Without cursors that is everything."""
        return min(self.at.values(), default=end)

    def expendable(self) -> int:
        """What is before this may go when there is no room: only cursors that are not required still want it, and
        another one is ahead of them."""
        required = [self.at[name] for name in self._required]
        return min(required) if required else max(self.at.values(), default=0)

    def newly_lost(self, name: str, start: int, end: int) -> int:
        """How many events of `[start, end)`, gone before this cursor read them, were not counted as lost yet."""
        if start >= end:
            return 0
        counted = self._counted.get(name, [])
        lost = end - start - sum(max(0, min(end, high) - max(start, low)) for low, high in counted)
        apart = [each for each in counted if each[1] < start or end < each[0]]
        touching = [(start, end), *(each for each in counted if each not in apart)]
        union = (min(low for low, _ in touching), max(high for _, high in touching))
        self._counted[name] = sorted([*apart, union])[-RANGES_MAX:]
        return lost
