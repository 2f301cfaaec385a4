"""A registration: an ephemeral node that says "I am alive, and this is where", kept for as long as its process lives.

Of two processes that register the same path the later one wins, and the earlier is told, as with everything else that two
processes of one name could fight for. The takeover is one multi, so nobody sees a gap and takes a restart for a death.
"""

from __future__ import annotations

import asyncio
import contextlib

from qanat.coordination.store import Conflict, Create, Delete, Op, SessionState, Store
from qanat.errors import FencedError, NotConnectedError, OutcomeUnknownError
from qanat.rpc.backoff import backoff_s

# The store has waited for a connection already before it says that there is none.
_RETRY_S_MAX = 5.0

# Who was overtaken by another process's change looks again at once; this is for two that do it again and again.
_AGAIN_S_MAX = 0.2


class Registration:
    """`path` with `value` in every session that `store` has, while `run` runs.

    A session that is lost takes the node with it; it is created again in the next one."""

    def __init__(self, store: Store, path: str, value: bytes) -> None:
        self._store = store
        self._path = path
        self._value = value
        self._settling = asyncio.Lock()
        self._sessions: set[int] = set()  # in which the node may have been created by us
        self._stands_in = 0

    @property
    def stands(self) -> bool:
        """The node is there, as far as is known: false from the moment in which the session is not connected."""
        session = self._store.session
        return session.state is SessionState.CONNECTED and session.id == self._stands_in

    async def run(self) -> None:
        """Until cancelled: end the store's session, by `close`, and the node goes. Raises FencedError once another process has
        registered the same path."""
        async with contextlib.aclosing(self._store.watch(self._path)) as changes:
            async for _ in changes:
                await self._settle()

    async def change(self, value: bytes) -> None:
        """From now on `value`; *blocking* until it is there, while `run` runs or not."""
        self._value = value
        await self._settle()

    async def _settle(self) -> None:
        async with self._settling:
            await self._settle_alone()

    async def _settle_alone(self) -> None:
        attempt = 0
        while True:
            try:
                if await self._try():
                    return
            except Conflict:  # the node was changed since it was read
                attempt += 1
                await asyncio.sleep(backoff_s(attempt, _AGAIN_S_MAX))
            except (NotConnectedError, OutcomeUnknownError):
                attempt += 1
                await asyncio.sleep(backoff_s(attempt, _RETRY_S_MAX))

    async def _try(self) -> bool:
        """The node is ours, and of this session; if not, make it so, and say that it is to be looked at again."""
        await self._store.sync(self._path)
        node = await self._store.get(self._path)
        session_id = self._store.session.id
        if node is not None and node.owner == session_id != 0 and node.value == self._value:
            self._stands_in = session_id
            return True
        if node is not None and self._stands_in and node.owner not in self._sessions:
            raise FencedError(
                f"another process has registered {self._path} ({node.value!r}); stop one of the two"
            )
        ops: list[Op] = [] if node is None else [Delete(self._path, node.version)]
        self._sessions.add(session_id)
        try:
            await self._store.multi([*ops, Create(self._path, self._value, ephemeral=True)])
        finally:
            self._sessions.add(
                self._store.session.id
            )  # it may have been opened by that, or renewed meanwhile
        return False
