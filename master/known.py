"""The physical nodes that ever registered: written when one comes that is new or other than before, never for heartbeats.

In batches, since ten thousand may come within seconds. Nobody watches the documents; who wants to know reads them.

Each document also says which process of a name is the latest, by numbers that only the store gives: no clock is asked. A process
is numbered once; it brings its number along when it attaches elsewhere, so that it is not taken for a new one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

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

# Of a process's random name that is kept: two of one name are never the same.
INSTANCE_CHARACTERS = 16

Edit = Callable[[dict[str, KnownNode]], bool]  # whether it changed something


@dataclass(frozen=True, slots=True)
class Arrival:
    """A process that attached. `start`: its number, 0 when it was not given one yet."""

    node: Physical
    instance: str
    start: int

    def seen(self, known: KnownNode | None, now_ns: int) -> KnownNode:
        """What is known of its name once it was seen: `known` itself when a later process of that name is."""
        node, instance = self.node, self.instance[:INSTANCE_CHARACTERS]
        if known is None:
            return KnownNode(node.role, node.host, dict(node.labels), now_ns, instance, max(self.start, 1))
        if known.instance == instance:
            start = known.start
        elif 0 < self.start < known.start:
            return known
        else:
            start = max(known.start + 1, self.start)
        return KnownNode(node.role, node.host, dict(node.labels), known.first_seen_ns, instance, start)


class KnownNodes:
    """All of them, as this master knows them."""

    def __init__(self, store: Store, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._wall_ns = wall_ns
        self._nodes: dict[str, KnownNode] = {}
        self._read_at_s = float("-inf")
        self._new: dict[str, Arrival] = {}
        self._has_new = asyncio.Event()
        self.settled: Callable[[str, KnownNode], None] = lambda name, known: None
        self.replaced: Callable[[list[str]], Awaitable[None]] = _nobody
        self.is_here: Callable[[str, str], bool] = lambda name, instance: True

    def look_up(self, arrival: Arrival) -> None:
        """Soon `settled` is told what is known of its name, which is written when it is new or other than before; and `replaced`
        the names of which another process was known until then."""
        self._new[arrival.node.name] = arrival
        self._has_new.set()

    async def all(self) -> dict[str, KnownNode]:
        """Everyone who is known, to this master or to others until a moment ago."""
        if time.monotonic() - self._read_at_s > OLD_S:
            await self._read()
        return self.remembered()

    def remembered(self) -> dict[str, KnownNode]:
        """Everyone who was known when the store was read last, and who came since."""
        new = {name: each.seen(self._nodes.get(name), 0) for name, each in self._new.items()}
        return self._nodes | new

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
        by_shard: dict[str, dict[str, Arrival]] = {}
        for name, arrival in self._new.items():
            by_shard.setdefault(paths.known_shard(name), {})[name] = arrival
        found = await self._store.get_many(list(by_shard))
        for (path, new), node in zip(by_shard.items(), found, strict=True):
            nodes = dict(_decoded(path, node).nodes)
            if self._see(nodes, new):
                await self._edit_seeing(path, new)
            else:
                self._settle(new, nodes)

    async def _edit_seeing(self, path: str, new: dict[str, Arrival]) -> None:
        nodes: dict[str, KnownNode] = {}
        replaced: list[str] = []

        def edit(stored: dict[str, KnownNode]) -> bool:
            nonlocal nodes, replaced
            before = {name: stored[name].instance for name in new if name in stored}
            changed = self._see(stored, new)
            nodes = stored
            replaced = [
                name for name, instance in before.items() if instance not in ("", stored[name].instance)
            ]
            return changed

        await self._edit(path, edit)
        self._settle(new, nodes)
        if replaced:
            await self.replaced(replaced)

    def _see(self, nodes: dict[str, KnownNode], new: dict[str, Arrival]) -> bool:
        """Put `new` into a shard's nodes; whether that changes them."""
        before = dict(nodes)
        for name, arrival in new.items():
            # Who has gone elsewhere is known there, and perhaps another has come since, which is the later.
            if name not in nodes or self.is_here(name, arrival.instance):
                nodes[name] = arrival.seen(nodes.get(name), self._wall_ns())
        return nodes != before

    def _settle(self, new: dict[str, Arrival], nodes: dict[str, KnownNode]) -> None:
        for name, arrival in new.items():
            self._nodes[name] = nodes[name]
            if self._new.get(name) is arrival:  # it may have registered again meanwhile, as another
                del self._new[name]
            self.settled(name, nodes[name])

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


async def _nobody(names: list[str]) -> None:
    """Is told."""
