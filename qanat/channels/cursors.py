"""Where the destinations of a channel are, and whom it waits for. [pure]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qanat.component import Cursor


class Cursors:
    """Numbers of the next event that each cursor has not acknowledged."""

    def __init__(
        self, cursors: Sequence[Cursor], oldest: int, known: Mapping[str, int] | None = None
    ) -> None:
        self._required = {cursor.name for cursor in cursors if cursor.required}
        self._counted: dict[str, int] = {}  # up to here, lost events of a cursor were counted
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
        lost = max(0, end - max(start, self._counted.get(name, 0)))
        self._counted[name] = max(end, self._counted.get(name, 0))
        return lost
