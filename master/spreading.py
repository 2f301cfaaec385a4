"""A change that was staged is put into its places: by the leader, and by whoever makes the next change before it is done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from master.cache import ConfigCache
from qanat.control import paths
from qanat.control.staging import SPREAD_BYTES_MAX, chunks, left, unpack
from qanat.coordination.store import Check, Conflict, Op, Set, Store
from qanat.errors import CorruptError, OutcomeUnknownError

log = structlog.get_logger(__name__)

# Each attempt fails because somebody else has done some of it meanwhile, or a reply was lost: a few in a row are bad luck.
ATTEMPTS_MAX = 20


async def spread(store: Store, cache: ConfigCache) -> None:
    """Until nothing is staged that the newest snapshot knows of.

    Raises NotConnectedError, OutcomeUnknownError (do it again), CorruptError."""
    snapshot = cache.snapshot
    node = await store.get(paths.STAGED)
    staged = None if node is None else unpack(node.value, paths.STAGED)
    if node is not None and staged is not None:
        guard = Check(paths.STAGED, node.version)
        for chunk in chunks(staged.ops, SPREAD_BYTES_MAX):
            if not await _do(store, guard, chunk):
                break
            await asyncio.sleep(0)  # requests to a store in memory, or in this process, hold everybody up
        else:
            with contextlib.suppress(Conflict):  # somebody else was faster
                await store.multi([Set(paths.STAGED, b"", node.version)])
            log.info("change_spread", revision=staged.revision, operations=len(staged.changes))
    cache.is_spread(snapshot.revision)


async def _do(store: Store, guard: Check, chunk: Sequence[Op]) -> bool:
    """Have all of `chunk` done, by us or by others; False when the guard says that everything is."""
    rest = chunk
    for _ in range(ATTEMPTS_MAX):
        try:
            await store.multi([guard, *rest])
        except Conflict as conflict:
            if conflict.index == 0:
                return False
        except OutcomeUnknownError:
            pass
        else:
            return True
        await store.sync(guard.path)
        names = [op.path for op in chunk]
        found = await store.get_many(names)
        rest = left(chunk, dict(zip(names, found, strict=True)))
        if not rest:
            return True
    raise CorruptError(
        f"the change at {guard.path} can't be put into its places: {rest[0].path} in the coordination store is not as it was "
        "when the change was made, and only masters should write there; restore the store from a backup"
    )
