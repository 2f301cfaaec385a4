"""What operations work with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from master.cache import ConfigCache, Snapshot
from master.known import KnownNodes
from master.leader import Leader
from master.nodes import Nodes
from master.peers import CATCH_UP_S_MAX, Peers
from master.planning import Edit
from master.status import as_physical, physical_of
from master.writing import Writer
from qanat.control.documents import Live
from qanat.control.statements import Language, Statement
from qanat.control.translation import Cluster, Physical
from qanat.coordination.store import SessionState, Store
from qanat.errors import RetryableError
from qanat.wire.v1 import control_pb2 as wire

# For a store that was away already when it is asked: the time that a session takes to go to another server. Whoever looks at a
# cluster in trouble does so again and again, and should not wait for an answer that does not come.
RECONNECT_S = 1.0


class Pushed:
    """Up to which revision the nodes of this master were told."""

    def __init__(self) -> None:
        self.revision = 0
        self._changed = asyncio.Event()

    def reached(self, revision: int) -> None:
        """Every node was told."""
        self.revision = revision
        self._changed.set()
        self._changed = asyncio.Event()

    async def pushed(self, revision: int) -> int:
        """Wait until `revision` was told, or for a while; the one that was."""
        try:
            async with asyncio.timeout(CATCH_UP_S_MAX):
                while self.revision < revision:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.revision


@dataclass(frozen=True, slots=True)
class Checked:
    """A text without faults, and what it says. `statements` are held so that the plan and the nodes' cluster find them read."""

    text: str
    edits: Sequence[Edit]
    statements: Sequence[Statement]


@dataclass
class Desk:
    """One master's parts, for its operations."""

    master_id: str
    store: Store
    language: Language
    cache: ConfigCache
    writer: Writer
    nodes: Nodes
    known: KnownNodes
    peers: Peers
    leader: Leader
    pushed: Pushed
    live: Live
    last_checked: Checked | None = None
    lost: set[str] = field(default_factory=set)  # known nodes that no master had when all were asked last
    wall_ns: Callable[[], int] = time.time_ns

    @property
    def is_stale(self) -> bool:
        """The store does not answer: what is shown may be old."""
        return self.store.session.state is not SessionState.CONNECTED

    async def snapshot(self) -> Snapshot:
        """The configuration as it is now; while the store does not answer, as it was."""
        patience_s = RECONNECT_S if self.is_stale and self.cache.is_loaded else None
        try:
            async with asyncio.timeout(patience_s):
                return await self.cache.fresh()
        except (RetryableError, TimeoutError):
            if not self.cache.is_loaded:
                raise
            return self.cache.snapshot

    async def everybody(self) -> list[Physical]:
        """Every physical node that is known, also one that came a moment ago, to whichever master; while the store does not
        answer, those who were known, and all who are attached: what was read last may be from before they came."""
        question = wire.StatusRequest(newcomers_only=not self.is_stale)
        asking = asyncio.create_task(self.peers.status(question))
        try:
            known = self.known.remembered() if self.is_stale else await self.known.all()
        except RetryableError:
            known = self.known.remembered()
        nodes = {name: as_physical(name, node) for name, node in known.items()}
        for reply in (await asking).replies.values():
            nodes |= {each.name: physical_of(each) for each in reply.nodes}
        return list(nodes.values())

    def cluster(self, snapshot: Snapshot) -> Cluster:
        """The cluster with this configuration, whether it was pushed or not."""
        base = self.nodes.cluster or Cluster(self.language)
        return base.changed(snapshot.configs, snapshot.mapping, self.live)
