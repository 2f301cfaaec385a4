"""The embedded store: one SQLite file, shared by the processes of one machine; survives crashes and restarts.

*Guarantee*: a `multi` that returned is on disk; one that raised NotConnectedError or Conflict did nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from qanat.coordination.sqlite_tree import BUSY_S_MAX, SqliteTree
from qanat.coordination.store import Node, Op
from qanat.errors import NotConnectedError

T = TypeVar("T")


class EmbeddedStore:
    """A `Store` in the file `path`, opened by the first call.

    *Thread*: any event loop may use it; SQLite is touched by one thread of its own. A forked child can't
    use it. A cancelled `multi` may still be applied.
    """

    def __init__(self, path: Path, *, busy_s_max: float = BUSY_S_MAX) -> None:
        self._tree = SqliteTree(path, busy_s_max=busy_s_max)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qanat-store")
        self._pid = os.getpid()
        self._closed = False
        self._checkpointing = False

    async def get(self, path: str) -> Node | None:
        """The node as it is now."""
        return (await self.get_many([path]))[0]

    async def get_many(self, paths: Sequence[str]) -> list[Node | None]:
        """As many `get`s in one go; not one snapshot."""
        return await self._call(self._tree.get_many, list(paths))

    async def children(self, path: str) -> list[str]:
        """Names (not paths) of the children, sorted; empty when the node does not exist."""
        return await self._call(self._tree.children, path)

    async def multi(self, ops: Sequence[Op]) -> None:
        """All of them or none, atomically and durably.

        Raises Conflict and PermanentError (too large) as well as NotConnectedError: nothing was done; and
        OutcomeUnknownError: it may have been."""
        await self._call(self._tree.apply, list(ops))
        self._checkpoint_when_quiet()

    async def sync(self, path: str) -> None:
        """Reads that follow see everything that was committed before; what was in doubt is settled."""
        await self._call(self._tree.sync)

    async def close(self) -> None:
        """Release everything; idempotent."""
        if self._closed:
            return
        try:
            await self._call(self._tree.close, closing=True)
        finally:
            self._thread.shutdown(wait=True)

    async def _call(self, function: Callable[..., T], *args: object, closing: bool = False) -> T:
        if os.getpid() != self._pid:
            raise RuntimeError("the store was opened before a fork: open one in each process")
        if self._closed:
            raise NotConnectedError(f"coordination store {self._tree.path} is closed")
        self._closed = closing
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _checkpoint_when_quiet(self) -> None:
        """Behind what waits already, and after the reply: the next commit is an interval away."""
        if self._tree.checkpoint_due and not self._checkpointing and not self._closed:
            self._checkpointing = True
            self._thread.submit(self._checkpoint)

    def _checkpoint(self) -> None:
        try:
            self._tree.checkpoint()
        finally:
            self._checkpointing = False
