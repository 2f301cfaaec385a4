"""The physical nodes that ever registered: written when one comes that is new or other than before, never for heartbeats.

In batches, since ten thousand may come within seconds. Nobody watches the documents; who wants to know reads them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from master.following import persistently
from qanat.control import paths
from qanat.control.documents import Known, KnownNode, decode, encode
from qanat.control.translation import Physical
from qanat.coordination.store import Conflict, Create, Node, Op, Set, Store
from qanat.rpc.backoff import backoff_s

# What comes within it is written together; nobody waits for it.
BATCH_S = 0.5

# A list that is older than this is read anew when somebody asks: 256 reads.
OLD_S = 2.0

# Masters that write the same document look again soon, and not at the same moment.
_AGAIN_S_MAX = 0.2

Edit = Callable[[dict[str, KnownNode]], bool]  # whether it changed something


class KnownNodes:
    """All of them, as this master knows them."""

    def __init__(self, store: Store, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._wall_ns = wall_ns
        self._nodes: dict[str, KnownNode] = {}
        self._read_at_s = float("-inf")
        self._new: dict[str, KnownNode] = {}
        self._has_new = asyncio.Event()

    def registered(self, node: Physical) -> None:
        """It is written when it is new, or other than before."""
        before = self._nodes.get(node.name)
        seen = KnownNode(
            node.role, node.host, dict(node.labels), 0 if before is None else before.first_seen_ns
        )
        if before != seen:
            self._new[node.name] = seen
            self._has_new.set()

    async def all(self) -> dict[str, KnownNode]:
        """Everyone who is known, to this master or to others until a moment ago."""
        if time.monotonic() - self._read_at_s > OLD_S:
            await self._read()
        return self._nodes | self._new

    async def forget(self, names: Iterable[str]) -> list[str]:
        """Forget these; those that were known."""
        forgotten = []
        for name in names:

            def without(nodes: dict[str, KnownNode], name: str = name) -> bool:
                return nodes.pop(name, None) is not None

            if await self._edit(paths.known_shard(name), without):
                forgotten.append(name)
            self._nodes.pop(name, None)
            self._new.pop(name, None)
        return forgotten

    async def run(self) -> None:
        """Write what is new; until cancelled."""
        await persistently(self._read)
        while True:
            await self._has_new.wait()
            await asyncio.sleep(BATCH_S)
            self._has_new.clear()
            await persistently(self._write)

    async def _read(self) -> None:
        shards = paths.known_shards()
        found: dict[str, KnownNode] = {}
        for path, node in zip(shards, await self._store.get_many(shards), strict=True):
            found |= _decoded(path, node).nodes
        self._nodes = found
        self._read_at_s = time.monotonic()

    async def _write(self) -> None:
        by_shard: dict[str, dict[str, KnownNode]] = {}
        for name, node in self._new.items():
            by_shard.setdefault(paths.known_shard(name), {})[name] = node
        for path, new in sorted(by_shard.items()):

            def with_new(nodes: dict[str, KnownNode], new: dict[str, KnownNode] = new) -> bool:
                return self._merge(nodes, new)

            await self._edit(path, with_new)
            for name, node in new.items():
                if self._new.get(name) is node:  # it may have registered again meanwhile, as another
                    del self._new[name]

    def _merge(self, nodes: dict[str, KnownNode], new: dict[str, KnownNode]) -> bool:
        """Put `new` into a shard."""
        changed = False
        for name, node in new.items():
            first_ns = nodes[name].first_seen_ns if name in nodes else self._wall_ns()
            stored = KnownNode(node.role, node.host, node.labels, first_ns)
            changed |= nodes.get(name) != stored
            nodes[name] = self._nodes[name] = stored
        return changed

    async def _edit(self, path: str, edit: Edit) -> bool:
        """Whether anything was changed. Repeating an edit whose reply was lost is harmless."""
        attempt = 0
        while True:
            (node,) = await self._store.get_many([path])
            nodes = dict(_decoded(path, node).nodes)
            if not edit(nodes):
                return False
            value = encode(Known(nodes))
            op: Op = Create(path, value) if node is None else Set(path, value, node.version)
            try:
                await self._store.multi([op])
            except Conflict:
                attempt += 1
                await asyncio.sleep(backoff_s(attempt, _AGAIN_S_MAX))
            else:
                return True


def _decoded(path: str, node: Node | None) -> Known:
    return Known() if node is None else decode(Known, node.value, path)
