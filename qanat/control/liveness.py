"""Which collectors automatic chains may name: gains at once, losses after a grace period. [pure]

A collector that restarts, or whose session was lost, is back within seconds, and its agents fail over along their chains
meanwhile. Only one that stays away is taken out of the chains. One that says that it leaves is taken out at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from qanat.control.documents import CollectorNode, Live

Place = tuple[str, str]  # physical node, logical node


class Liveness:
    """The leader's view, from what was written last on. A new leader gives everybody a new grace period."""

    def __init__(self, live: Live, grace_s: float) -> None:
        self._grace_s = grace_s
        self._addresses: dict[Place, str] = {
            (physical, logical): address
            for physical, listening in live.collectors.items()
            for logical, address in listening.items()
        }
        self._missing_since_s: dict[Place, float] = {}

    def observe(self, registered: Mapping[str, CollectorNode], now_s: float) -> Live:
        """The live collectors, given who is registered at `now_s` (monotonic)."""
        there = {
            (physical, logical): address
            for physical, node in registered.items()
            if not node.leaving
            for logical, address in node.listening.items()
        }
        self._addresses |= there
        for place in list(self._addresses):
            if place in there:
                self._missing_since_s.pop(place, None)
            elif self._is_over(place, registered, now_s):
                del self._addresses[place]
                self._missing_since_s.pop(place, None)
        return self._live()

    def next_s(self) -> float | None:
        """When to observe again although nothing changed; None: no need."""
        if not self._missing_since_s:
            return None
        return min(self._missing_since_s.values()) + self._grace_s

    def _is_over(self, place: Place, registered: Mapping[str, CollectorNode], now_s: float) -> bool:
        node = registered.get(place[0])
        if node is not None and node.leaving:
            return True
        return now_s - self._missing_since_s.setdefault(place, now_s) >= self._grace_s

    def _live(self) -> Live:
        collectors: dict[str, dict[str, str]] = {}
        for (physical, logical), address in sorted(self._addresses.items()):
            collectors.setdefault(physical, {})[logical] = address
        return Live(collectors)
