"""How long an adopter goes on [pure]."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Backlog:
    """Watches a dead sink that has something to pass on before it can end. `stuck_s`: how long without any progress."""

    stuck_s: float
    _least_bytes: int | None = None
    _since_s: float = 0.0

    def is_done(self, left_bytes: int, now_s: float) -> bool:
        """All was passed on, or nothing moves."""
        if self._least_bytes is None or left_bytes < self._least_bytes:
            self._least_bytes, self._since_s = left_bytes, now_s
        return left_bytes == 0 or now_s - self._since_s >= self.stuck_s
