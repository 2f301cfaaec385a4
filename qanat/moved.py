"""Where streams stand: those that moved last, since there may be ten thousand of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping

# Of one logical node, in a report to masters and among its metrics: enough to see that it moves, and where.
STREAMS_MAX = 20


class Moved:
    """*Thread*: any."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._lock = threading.Lock()

    def moved(self, positions: Mapping[str, int], of: str = "") -> None:
        """These streams stand there now. `of`: whose they are, where several senders may have streams of one name."""
        with self._lock:
            for name in list(positions)[-STREAMS_MAX:]:
                key = f"{of}/{name}" if of else name
                self._last.pop(key, None)
                self._last[key] = positions[name]
            while len(self._last) > STREAMS_MAX:
                del self._last[next(iter(self._last))]

    def read(self) -> dict[str, int]:
        """Those that moved last, the last one at the end."""
        with self._lock:
            return self._last.copy()
