"""Leader election on top of any store: who leads, and under which epoch.

`<path>/leader` is an ephemeral node; who creates it leads. In the same multi the new leader sets `<path>/epoch`, whose version
is its epoch: a number that only grows, and belongs to one leader for ever. A leader that does not know yet that it is none
any more must do no harm, so everything that it writes carries `Check(election.epoch_path, epoch)`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from qanat.coordination.store import Conflict, Create, Delete, Op, SessionState, Set, Store
from qanat.errors import NotConnectedError, OutcomeUnknownError
from qanat.rpc.backoff import backoff_s

T = TypeVar("T")

# Somebody else leads meanwhile, or nobody can: no reason for haste, nor for the store to be asked often.
_RETRY_S_MAX = 5.0

# Candidates that are in each other's way: they look again soon, not all at the same moment.
_AGAIN_S_MAX = 0.2


class Election:
    """One candidate for the leadership at `path`.

    while True:
        epoch = await election.lead()
        ... until `await election.lost()`
    """

    def __init__(self, store: Store, path: str, candidate: str) -> None:
        self._store = store
        self._candidate = candidate
        self._leader_path = f"{path}/leader"
        self.epoch_path = f"{path}/epoch"
        self._token = b""  # of the last attempt; what leader and epoch say when it succeeded
        self._tokens: set[bytes] = set()  # of all attempts

    async def lead(self) -> int:
        """Wait until this candidate leads; its epoch."""
        async with contextlib.aclosing(self._store.watch(self._leader_path)) as changes:
            async for _ in changes:
                epoch = await self._until_certain(self._try)
                if epoch is not None:
                    return epoch
        raise NotConnectedError("the store was closed during an election")

    async def lost(self) -> None:
        """Wait until this candidate leads no more: its session is lost, or it resigned. A suspended session is not lost."""
        session_id = self._store.session.id
        ends = [
            asyncio.create_task(self._session_ends(session_id)),
            asyncio.create_task(self._leader_changes()),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    async def resign(self) -> None:
        """Let another lead. Does nothing when this candidate does not."""
        node = await self._store.get(self._leader_path)
        if node is not None and node.value == self._token:
            with contextlib.suppress(Conflict):
                await self._store.multi([Delete(self._leader_path, node.version)])

    async def leader(self) -> str | None:
        """Who leads now, None when nobody does."""
        node = await self._store.get(self._leader_path)
        return None if node is None else node.value.decode().rpartition(" ")[0]

    async def _try(self) -> int | None:
        """The epoch when this candidate leads, after an attempt if there is no leader; None when another leads."""
        await self._store.sync(self._leader_path)
        epoch, leader = await self._store.get_many([self.epoch_path, self._leader_path])
        if epoch is None:
            await self._store.multi([Create(self.epoch_path, b"")])
            return await self._try()
        if leader is not None and leader.value == epoch.value == self._token:
            return epoch.version  # of this very attempt: no other has its token
        if leader is not None and leader.value not in self._tokens:
            return None
        # A leader that is an earlier attempt of ours: its reply was lost, or its session.
        ops: list[Op] = [] if leader is None else [Delete(self._leader_path, leader.version)]
        token = self._token = f"{self._candidate} {secrets.token_hex(8)}".encode()
        self._tokens.add(token)
        create = Create(self._leader_path, token, ephemeral=True)
        await self._store.multi([*ops, create, Set(self.epoch_path, token, epoch.version)])
        return epoch.version + 1

    async def _session_ends(self, session_id: int) -> None:
        async with contextlib.aclosing(self._store.session_changes()) as sessions:
            async for session in sessions:
                if session.state is SessionState.LOST or session.id != session_id:
                    return

    async def _leader_changes(self) -> None:
        async with contextlib.aclosing(self._store.watch(self._leader_path)) as changes:
            async for _ in changes:
                if not await self._until_certain(self._leads):
                    return

    async def _leads(self) -> bool:
        await self._store.sync(self._leader_path)
        node = await self._store.get(self._leader_path)
        return node is not None and node.value == self._token

    async def _until_certain(self, question: Callable[[], Awaitable[T]]) -> T:
        """The answer, however often it has to be asked."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return await question()
            except Conflict:  # somebody was faster: look again
                await asyncio.sleep(backoff_s(attempt, _AGAIN_S_MAX))
            except (NotConnectedError, OutcomeUnknownError):
                await asyncio.sleep(backoff_s(attempt, _RETRY_S_MAX))
