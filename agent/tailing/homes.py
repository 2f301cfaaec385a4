"""Watched paths at which there is no stream now, and since when: what was created there later, and renamed away before
anybody looked, can then be found by its age."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.tailing import names
from agent.tailing.state import Home

# Paths that had a file once: as many as finished files are remembered. One is some 80 bytes of state, and a stat(2) every
# `rescan`; a host whose files all have names of their own reaches the limit.
HOMES_MAX = 4096


class Homes:
    """By path; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._seen_ns: dict[str, int] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen_ns)

    def remember(self, home: str, seen_ns: int) -> None:
        """Files of `home` that were changed before `seen_ns` are known."""
        self._seen_ns.pop(home, None)
        self._seen_ns[home] = seen_ns
        while len(self._seen_ns) > HOMES_MAX:
            del self._seen_ns[next(iter(self._seen_ns))]

    def forget(self, home: str) -> None:
        """There is a stream at `home`, which says more."""
        self._seen_ns.pop(home, None)

    def seen_ns(self, home: str) -> int | None:
        """Until when what was at `home` is known; None when nothing is known of it."""
        return self._seen_ns.get(home)

    def restore(self, homes: Iterable[Home]) -> None:
        """Of the state file."""
        for home in homes:
            self.remember(names.decode(home.path), home.seen_ns)

    def saved(self) -> list[Home]:
        """For the state file."""
        return [Home(names.encode(path), seen_ns) for path, seen_ns in self._seen_ns.items()]
