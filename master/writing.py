"""Changes of the configuration: each decided by one multi, made for a revision and refused at any other.

So changes through different masters happen one after the other, and none is made from an old state: an update can't be lost.
A request whose reply was lost is settled by its token, which the revision that it made remembers. What is too large for a request
is staged, and spread before the next change.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from master.cache import ConfigCache, Snapshot
from master.spreading import spread
from qanat.control import paths
from qanat.control.documents import RECENT_NAMES_MAX, Recent, encode
from qanat.control.staging import DIRECT_BYTES_MAX, pack
from qanat.coordination.request import request_bytes
from qanat.coordination.store import Conflict, Create, Op, Set, Store
from qanat.errors import NotConnectedError, OutcomeUnknownError, PermanentError, RetryableError
from qanat.rpc.backoff import backoff_s

# How long a change is tried: what a person waits for an answer. Longer than an ensemble takes to elect a leader, or a
# session to expire.
WRITE_S_MAX = 20.0

# Masters that are in each other's way look again soon, and not all at the same moment.
_AGAIN_S_MAX = 0.2

Plan = Callable[[Snapshot], Sequence[Op]]


class Writer:
    """Makes changes, one at a time: those of one master need not be in each other's way."""

    def __init__(self, store: Store, cache: ConfigCache) -> None:
        self._store = store
        self._cache = cache
        self._writing = asyncio.Lock()

    async def write(self, plan: Plan) -> int:
        """Do what `plan` says for the present configuration, and give the revision that it made; no operations: nothing is done.

        `plan` is asked again when something else was changed meanwhile; it raises when it then makes no sense any more.
        Raises NotConnectedError, RetryableError (nothing was done), OutcomeUnknownError, PermanentError (too large), and
        what `plan` raises."""
        async with self._writing:
            return await _Attempt(self._store, self._cache, plan).settle()


class _Attempt:
    """One change, until it is known what became of it."""

    def __init__(self, store: Store, cache: ConfigCache, plan: Plan) -> None:
        self._store = store
        self._cache = cache
        self._plan = plan
        self._token = secrets.token_hex(8)
        self._doubtful: int | None = None  # the first revision for which a request was sent and not answered
        self._until_s = time.monotonic() + WRITE_S_MAX

    async def settle(self) -> int:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._try()
            except Conflict:  # another change was faster
                self._give_up_when_late("the configuration is being changed all the time by others")
                await asyncio.sleep(backoff_s(attempt, _AGAIN_S_MAX))
            except OutcomeUnknownError as error:
                self._give_up_when_late(str(error))
            except NotConnectedError as error:
                if self._doubtful is None:
                    raise NotConnectedError(f"nothing was changed: {error}") from error
                self._give_up_when_late(str(error))
                await asyncio.sleep(backoff_s(attempt, _AGAIN_S_MAX))

    async def _try(self) -> int:
        snapshot = await self._cache.fresh()
        made = snapshot.changes.made_by(self._token)
        if made is not None:
            return made
        if self._doubtful is not None and snapshot.changes.since(self._doubtful) is None:
            raise _in_doubt("too many other changes came between")
        if snapshot.is_staged:
            await spread(self._store, self._cache)
        ops = self._plan(snapshot)
        if not ops:
            return snapshot.revision
        revision = snapshot.revision + 1
        written = [op.path for op in ops if op.path.startswith(_CONFIGURED)]
        recent = Recent(revision, self._token, written if len(written) <= RECENT_NAMES_MAX else None)
        value = encode(snapshot.changes.after(recent))
        mark: Op = (
            Set(paths.REVISION, value, snapshot.revision - 1)
            if snapshot.revision
            else Create(paths.REVISION, value)
        )
        if request_bytes(ops) > DIRECT_BYTES_MAX:
            ops = [await self._staging(revision, ops)]
        try:
            await self._store.multi([mark, *ops])
        except OutcomeUnknownError:
            self._doubtful = snapshot.revision if self._doubtful is None else self._doubtful
            raise
        except PermanentError as error:
            raise _too_large(len(written), error) from error
        return revision

    async def _staging(self, revision: int, ops: Sequence[Op]) -> Op:
        """What says that all of `ops` is to be done. While something is staged no revision is made, so this is refused, too."""
        value = pack(revision, ops)
        node = await self._store.get(paths.STAGED)
        return Create(paths.STAGED, value) if node is None else Set(paths.STAGED, value, node.version)

    def _give_up_when_late(self, why: str) -> None:
        if time.monotonic() < self._until_s:
            return
        if self._doubtful is not None:
            raise _in_doubt(why)
        raise RetryableError(f"nothing was changed within {WRITE_S_MAX:.0f} s: {why}; try again")


_CONFIGURED = tuple(f"{parent}/" for parent in paths.CONFIGURED)


def _too_large(written: int, error: PermanentError) -> PermanentError:
    return PermanentError(
        f"{written} statements, mappings and limits are more than the coordination store takes, and a change is made as a "
        f"whole or not at all; nothing was changed. Apply it in parts: several files, each a flow ({error})"
    )


def _in_doubt(why: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(
        f"it is not known whether the change was stored ({why}); look at `qanat history`, then do it again if it was not"
    )
