"""The coordination store: a small tree of versioned values, the one place where the cluster agrees.

Two implementations pass the same contract tests: `embedded.py` (SQLite, one machine) and `zookeeper.py`.
Paths are absolute, `/`-separated, without a trailing slash. Versions start at 0 and grow by 1 with each
set; a znode deleted and created again starts at 0, so nothing that is compared by version is ever deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# What one request may carry: some 300,000 streams of one sender, or as many open files of one sink as that. An ensemble of
# ZooKeeper servers takes 1 MiB (jute.maxbuffer): claims and tokens have to be split before there is a store on one.
VALUE_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its version."""

    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Check:
    """The node exists and has this version."""

    path: str
    version: int


@dataclass(frozen=True, slots=True)
class Create:
    """The node does not exist yet; missing parents are created (empty)."""

    path: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Set:
    """Compare-and-set: the node exists and has this version, which then grows by 1."""

    path: str
    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Delete:
    """The node exists, has this version and no children."""

    path: str
    version: int


Op = Check | Create | Set | Delete


class Conflict(Exception):
    """A multi was refused, and nothing of it happened. `index` is the first operation that failed, `path`
    its path."""

    def __init__(self, index: int, path: str, reason: str) -> None:
        super().__init__(f"operation {index} on {path}: {reason}")
        self.index = index
        self.path = path


class Store(Protocol):
    """Versioned get and set, atomic multi.

    Every method may raise NotConnectedError (nothing was done); `multi` may raise OutcomeUnknownError as
    well (it may have been applied, now or later: `sync`, read, decide). "Does not exist" is None, never an
    error.
    """

    async def get(self, path: str) -> Node | None:
        """The node as it is now."""

    async def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """As many `get`s in one go; not one snapshot."""

    async def children(self, path: str) -> list[str]:
        """Names (not paths) of the children, sorted; empty when the node does not exist."""

    async def multi(self, ops: Sequence[Op]) -> None:
        """All of them or none, atomically and durably. Raises Conflict, NotConnectedError,
        OutcomeUnknownError."""

    async def sync(self, path: str) -> None:
        """Reads that follow see everything that was committed before this call."""

    async def close(self) -> None:
        """Release everything; idempotent."""
