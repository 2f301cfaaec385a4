"""The embedded store: one SQLite file, shared by the processes of one machine; survives crashes and restarts.

*Guarantee*: a `multi` that returned is on disk; one that raised NotConnectedError or Conflict did nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from qanat.coordination.request import check_path
from qanat.coordination.sqlite_tree import BUSY_S_MAX, SessionGoneError, SqliteTree
from qanat.coordination.store import VALUE_BYTES_MAX, Create, Node, Op, Session, SessionState
from qanat.coordination.watching import SessionBoard, Watchers
from qanat.errors import NotConnectedError, OutcomeUnknownError, QanatError

T = TypeVar("T")

# How long the others wait for a heartbeat before they take a process for dead: longer than a sync of a busy disk or a
# pause of a loaded machine keeps an event loop from beating, short enough for a person who watches.
SESSION_S = 6.0

# Heartbeats in that time: several may be late.
_BEAT_S = 1.0

# How late a watch may notice what another process did. Looking whether the log was written costs some 50 us each time.
_LOOK_S = 0.1

# Two commits in one tick of the kernel's clock (at most 10 ms) give the log the same time: a younger one tells nothing.
_YOUNG_S = 0.05


class EmbeddedStore:
    """A `Store` in the file `path`, opened by the first call.

    *Thread*: any event loop may use it; SQLite is touched by one thread of its own. A forked child can't
    use it. A cancelled `multi` may still be applied. Who neither watches nor asks for a session costs nothing while idle.
    """

    request_bytes_max = VALUE_BYTES_MAX

    def __init__(
        self, path: Path, *, busy_s_max: float = BUSY_S_MAX, session_timeout_s: float = SESSION_S
    ) -> None:
        self._tree = SqliteTree(path, busy_s_max=busy_s_max)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qanat-store")
        self._pid = os.getpid()
        self._closed = False
        self._checkpointing = False
        self._busy_s_max = busy_s_max
        self._session_timeout_s = session_timeout_s
        self._board = SessionBoard(f"embedded:{path}")
        self._wants_session = False
        self._watchers = Watchers()
        self._seen: int | None = None  # the last change that watchers were told of
        self._written_ns = -1  # when the log was, as far as watchers know; -1: look
        self._look_now = asyncio.Event()
        self._caretaker: asyncio.Task[None] | None = None
        self._heart: asyncio.TimerHandle | None = None

    @property
    def session(self) -> Session:
        """As it was last heard of."""
        return self._board.current

    async def session_changes(self) -> AsyncGenerator[Session, None]:
        """The session now, and after each change. Opens one."""
        self._wants_session = True
        self._take_care()
        async with contextlib.aclosing(self._board.changes()) as changes:
            async for session in changes:
                yield session

    async def watch(self, path: str) -> AsyncGenerator[None, None]:
        """Yields now, and after each change, of another process within about 0.1 s."""
        event = self._watchers.add(check_path(path))
        try:
            with contextlib.suppress(NotConnectedError):
                if self._seen is None:
                    self._seen, _ = await self._call(self._tree.changes_since, None)
            self._take_care()
            while not self._closed:
                await event.wait()
                event.clear()
                if not self._closed:
                    yield
        finally:
            self._watchers.discard(path, event)

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
        self._wants_session |= any(isinstance(op, Create) and op.ephemeral for op in ops)
        if self._wants_session and self._board.current.state is SessionState.LOST:
            await self._have_session()
        session_id = self._board.current.id
        try:
            await self._call(self._tree.apply, list(ops), session_id)
        except SessionGoneError:
            self._board.change(SessionState.LOST)
            raise
        finally:
            self._look_now.set()
        self._checkpoint_when_quiet()

    async def sync(self, path: str) -> None:
        """Reads that follow see everything that was committed before; what was in doubt is settled."""
        await self._call(self._tree.sync)

    async def close(self) -> None:
        """End the session, release everything; idempotent."""
        if self._closed:
            return
        for own in (self._caretaker, self._heart):
            if own is not None:
                own.cancel()
        try:
            if self._board.current.id:
                with contextlib.suppress(NotConnectedError, OutcomeUnknownError):  # it expires by itself then
                    await self._call(self._tree.end_session, self._board.current.id)
            await self._call(self._tree.close, closing=True)
        finally:
            self._closed = True
            self._board.close()
            self._watchers.notify(None)
            self._thread.shutdown(wait=True)

    async def _call(self, function: Callable[..., T], *args: object, closing: bool = False) -> T:
        if os.getpid() != self._pid:
            raise RuntimeError("the store was opened before a fork: open one in each process")
        if self._closed:
            raise NotConnectedError(f"coordination store {self._tree.path} is closed")
        self._closed = closing
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    async def _have_session(self) -> None:
        """Who had one does nothing outside of it, lest it goes on as if nobody had taken it for dead."""
        self._take_care()
        try:
            async with asyncio.timeout(self._busy_s_max + _BEAT_S):
                await self._board.connected()
        except TimeoutError:
            raise NotConnectedError(f"no session in coordination store {self._tree.path} yet") from None

    def _take_care(self) -> None:
        """Have a task that keeps the session alive and tells watchers, from now on and as soon as it can."""
        if not self._closed and (self._caretaker is None or self._caretaker.done()):
            self._look_now = asyncio.Event()
            self._caretaker = asyncio.create_task(self._care(), name="store-caretaker")
        self._look_now.set()

    async def _care(self) -> None:
        beat_s = float("-inf")
        while not self._closed:
            try:
                due = time.monotonic() - beat_s >= _BEAT_S
                beat_s = time.monotonic() if due else beat_s
                if self._wants_session and (due or self._board.current.state is SessionState.LOST):
                    await self._keep_session()
                if self._watchers and (due or self._log_was_written()):
                    await self._tell_watchers()
            except QanatError:
                # Whoever calls is told; here it is enough to try again.
                if self._board.current.state is SessionState.CONNECTED:
                    self._board.change(SessionState.SUSPENDED)
            # Not wait_for, which makes a task each time.
            alarm = asyncio.get_running_loop().call_later(
                _LOOK_S if self._watchers else _BEAT_S, self._look_now.set
            )
            await self._look_now.wait()
            alarm.cancel()
            self._look_now.clear()

    async def _keep_session(self) -> None:
        """Look whether the others have ended it, and open another."""
        session = self._board.current
        if session.state is not SessionState.LOST:
            if await self._call(self._tree.session_lives, session.id):
                await self._call(self._tree.expire_sessions)
                self._board.change(SessionState.CONNECTED)
                return
            self._board.change(SessionState.LOST)
        opened = await self._call(self._tree.open_session, self._session_timeout_s)
        self._board.change(SessionState.CONNECTED, opened)
        self._watchers.notify(None)
        self._beat(opened)

    def _beat(self, session_id: int) -> None:
        """Now and again. Not on the store's thread, which a sync of a busy disk may keep for longer than a session lives."""
        session = self._board.current
        if self._closed or session.id != session_id or session.state is SessionState.LOST:
            return
        with contextlib.suppress(NotConnectedError):
            self._tree.beat(session_id)
        self._heart = asyncio.get_running_loop().call_later(_BEAT_S, self._beat, session_id)

    def _log_was_written(self) -> bool:
        """Since this was asked last, or so shortly before that it can't be told."""
        before, written_ns = self._written_ns, self._tree.written_ns()
        is_young = time.time_ns() - written_ns < _YOUNG_S * 1e9
        self._written_ns = -1 if is_young else written_ns
        return written_ns != before

    async def _tell_watchers(self) -> None:
        self._seen, paths = await self._call(self._tree.changes_since, self._seen)
        self._watchers.notify(paths)

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
