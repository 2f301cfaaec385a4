"""Rendezvous hashing: who prefers whom, decided everywhere alike, with little movement. [pure]

Every key weighs every candidate by a hash of both, and takes the heaviest. A candidate that comes takes 1/N of the keys, evenly
from the others; one that goes leaves its keys to the next on each key's own list, evenly again.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

_MASK = (1 << 64) - 1


def digest(text: str) -> int:
    """64 bits that differ in half of their places for any other text."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def weight(key: int, candidate: int) -> int:
    """Of two digests: splitmix64's finalizer, a fifth of the time of another `digest`."""
    x = key ^ candidate
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


class Candidates:
    """A set of candidates that keys choose from. Choices are remembered: the set does not change."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._digests = [(digest(name), name) for name in sorted(self.names)]
        self._chosen: dict[tuple[str, int], tuple[str, ...]] = {}

    def best(self, key: str, count: int) -> tuple[str, ...]:
        """The heaviest `count` candidates, heaviest first; fewer when there are fewer."""
        found = self._chosen.get((key, count))
        if found is None:
            own = digest(key)
            weights = [(weight(own, each), name) for each, name in self._digests]
            weights.sort(reverse=True)
            found = tuple(name for _, name in weights[:count])
            self._chosen[key, count] = found
        return found
