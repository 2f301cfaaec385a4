"""What is done once in the cluster, by the master that leads: which collectors are live, how much history is kept, and that large
changes get into their places.

Everything that a leader writes carries its epoch, so that one that does not know yet that it is none any more changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time

import structlog

from master.cache import ConfigCache, Snapshot
from master.following import persistently
from master.spreading import spread
from qanat.control import paths
from qanat.control.documents import CollectorNode, Live, decode, encode
from qanat.control.liveness import Liveness
from qanat.coordination.election import Election
from qanat.coordination.store import Check, Conflict, Create, Delete, Op, Set, Store

log = structlog.get_logger(__name__)

# Restarts take a second or two, a session of ZooKeeper expires after some: whoever is away longer is not about to come back.
GRACE_S = 10.0

# Registrations are watched; they are looked at so often as well, in case one was changed in a way that no watch tells.
LOOK_S = 5.0

# Versions of each logical node that are kept, as Kubernetes keeps ten and people ask for last month's.
HISTORY_MAX = 50

# Versions deleted in one request.
_PRUNE_MAX = 100


class Leader:
    """A candidate's life. `leads` is its epoch while it leads, else None."""

    def __init__(self, store: Store, cache: ConfigCache, master_id: str, grace_s: float = GRACE_S) -> None:
        self._store = store
        self._cache = cache
        self._grace_s = grace_s
        self.election = Election(store, paths.ROOT, master_id)
        self.leads: int | None = None
        self._pruned: dict[str, int] = {}  # logical node -> version up to which its history was looked at

    async def run(self) -> None:
        """Until cancelled; resigns then, if the store answers."""
        try:
            while True:
                self.leads = await self.election.lead()
                log.info("leadership_won", epoch=self.leads)
                await self._lead(self.leads)
                self.leads = None
                log.warning("leadership_lost", reason="its session ended, or another master leads")
        finally:
            self.leads = None

    async def _lead(self, epoch: int) -> None:
        duties = [
            asyncio.create_task(self._keep_live(epoch)),
            asyncio.create_task(self._keep_history(epoch)),
        ]
        lost = asyncio.create_task(self.election.lost())
        try:
            done, _ = await asyncio.wait([lost, *duties], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a duty ends only by a defect
        finally:
            for task in (lost, *duties):
                task.cancel()
            await asyncio.gather(lost, *duties, return_exceptions=True)

    # Which collectors are live.

    async def _keep_live(self, epoch: int) -> None:
        liveness: Liveness | None = None
        changed = asyncio.Event()
        watching = asyncio.create_task(_set_at(self._store, paths.NODES, changed))

        async def look() -> None:
            nonlocal liveness
            if liveness is None:
                await self._store.sync(paths.LIVE)
                liveness = Liveness((await self._stored_live())[0], self._grace_s)
            await self._write_live(liveness.observe(await self._registered(), time.monotonic()), epoch)

        try:
            while True:
                changed.clear()
                await persistently(look)
                next_s = None if liveness is None else liveness.next_s()
                pause_s = LOOK_S if next_s is None else min(LOOK_S, max(0.0, next_s - time.monotonic()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await changed.wait()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _registered(self) -> dict[str, CollectorNode]:
        names = [f"{paths.NODES}/{child}" for child in await self._store.children(paths.NODES)]
        found = zip(names, await self._store.get_many(names), strict=True)
        nodes = {
            paths.name(path): decode(CollectorNode, node.value, path)
            for path, node in found
            if node is not None
        }
        return {name: node for name, node in nodes.items() if node.role == "collector"}

    async def _stored_live(self) -> tuple[Live, int | None]:
        node = await self._store.get(paths.LIVE)
        if node is None:
            return Live(), None
        return decode(Live, node.value, paths.LIVE), node.version

    async def _write_live(self, live: Live, epoch: int) -> None:
        stored, version = await self._stored_live()
        if stored == live and version is not None:
            return
        value = encode(live)
        op: Op = Create(paths.LIVE, value) if version is None else Set(paths.LIVE, value, version)
        with contextlib.suppress(
            Conflict
        ):  # it leads no more, or its own request of before was applied: look again
            await self._store.multi([Check(self.election.epoch_path, epoch), op])
            log.info("live_collectors_changed", collectors=sorted(live.collectors))

    # How much history is kept.

    async def _keep_history(self, epoch: int) -> None:
        changed = asyncio.Event()
        watching = asyncio.create_task(_set_at(self._store, paths.REVISION, changed))
        try:
            while True:
                await changed.wait()
                changed.clear()
                await persistently(self._cache.look)
                if self._cache.snapshot.is_staged:
                    await persistently(functools.partial(spread, self._store, self._cache))
                snapshot = self._cache.snapshot

                async def prune(snapshot: Snapshot = snapshot) -> None:
                    await self._prune(snapshot, epoch)

                await persistently(prune)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _prune(self, snapshot: Snapshot, epoch: int) -> None:
        for logical, config in snapshot.configs.items():
            if config.version <= HISTORY_MAX or self._pruned.get(logical) == config.version:
                continue
            directory = paths.of(paths.HISTORY, logical)
            old = [
                f"{directory}/{child}"
                for child in await self._store.children(directory)
                if int(child) <= config.version - HISTORY_MAX
            ]
            for start in range(0, len(old), _PRUNE_MAX):
                deletes = [Delete(path, 0) for path in old[start : start + _PRUNE_MAX]]  # never changed
                with contextlib.suppress(Conflict):
                    await self._store.multi([Check(self.election.epoch_path, epoch), *deletes])
            self._pruned[logical] = config.version


async def _set_at(store: Store, path: str, event: asyncio.Event) -> None:
    async with contextlib.aclosing(store.watch(path)) as changes:
        async for _ in changes:
            event.set()
