"""The coordination store: a small tree of versioned values, the one place where the cluster agrees.

Two implementations pass the same contract tests: `embedded.py` (SQLite, one machine) and `zookeeper.py`. What can be
built on top of any of them is: `registration.py`, `election.py`.
Paths are absolute, `/`-separated, without a trailing slash. Versions start at 0 and grow by 1 with each
set; a znode deleted and created again starts at 0, so nothing that is compared by version is ever deleted.

A client has a *session*, and *ephemeral* nodes live as long as the one that created them. The store opens another by
itself after one is lost; that its ephemeral nodes are gone then is for the user to notice: `session_changes`.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

# What one request to the embedded store may carry: some 300,000 streams of one sender, or as many open files of one sink
# as that. Other stores take less: `Store.request_bytes_max`.
VALUE_BYTES_MAX = 16 << 20


class SessionState(enum.Enum):
    """What a client knows about its session."""

    CONNECTED = "connected"  # calls are answered
    SUSPENDED = "suspended"  # no server answers; the session may live or not: nobody can tell until one does
    LOST = "lost"  # there is none: never opened yet, or expired; the store is opening another


@dataclass(frozen=True, slots=True)
class Session:
    """A client's session as it was last heard of. `id` is 0 before the first; another `id` is another session."""

    state: SessionState
    id: int


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its version. `owner`: the session that an ephemeral node lives as long as, 0 for any other node."""

    value: bytes
    version: int
    owner: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """The node exists and has this version."""

    path: str
    version: int


@dataclass(frozen=True, slots=True)
class Create:
    """The node does not exist yet; missing parents are created (empty, not ephemeral).

    An `ephemeral` node is deleted when the session that created it ends, and has no children."""

    path: str
    value: bytes
    ephemeral: bool = False


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
    """Versioned get and set, atomic multi, watches, and a session for ephemeral nodes.

    Every method may raise NotConnectedError (nothing was done); `multi` may raise OutcomeUnknownError as
    well (it may have been applied, now or later: `sync`, read, decide). No call waits much longer than a session
    lives; iterators wait for ever and end with `close`. "Does not exist" is None, never an error.
    """

    @property
    def request_bytes_max(self) -> int:
        """What a `multi` may carry, as `qanat.coordination.request.request_bytes` counts it."""

    @property
    def session(self) -> Session:
        """As it was last heard of. Opened at the latest by `session_changes` and by the first ephemeral node."""

    def session_changes(self) -> AsyncGenerator[Session, None]:
        """The session now, and whenever it changed since it was last yielded; what came and went in between is left
        out, but a session that was lost meanwhile shows in its `id`."""

    def watch(self, path: str) -> AsyncGenerator[None, None]:
        """Yields once when it stands, and whenever since then the node or the names of its children *may* have
        changed, also after every interruption: read again each time. Many changes may be one yield."""

    async def get(self, path: str) -> Node | None:
        """The node as it is now, or was a moment ago (see `sync`); never older than what this client saw before."""

    async def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """As many `get`s in one go; not one snapshot."""

    async def children(self, path: str) -> list[str]:
        """Names (not paths) of the children, sorted; empty when the node does not exist."""

    async def multi(self, ops: Sequence[Op]) -> None:
        """All of them or none, atomically and durably.

        Raises Conflict, PermanentError (larger than `request_bytes_max`), NotConnectedError, OutcomeUnknownError."""

    async def sync(self, path: str) -> None:
        """Reads of `path` that follow see everything that was committed before this call."""

    async def close(self) -> None:
        """End the session, and with it its ephemeral nodes; release everything; idempotent."""
