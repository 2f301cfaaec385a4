"""Who waits for what: level-triggered, so that a change during a user's work is never lost, and ten are one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable

import structlog

from qanat.coordination.store import Session, SessionState

log = structlog.get_logger(__name__)


class Watchers:
    """An event for each waiting iterator, by path. *Thread*: the event loop's."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    def __bool__(self) -> bool:
        return bool(self._events)

    def add(self, path: str) -> asyncio.Event:
        """An event that is set whenever `path` may have changed; set now, for the first look."""
        event = asyncio.Event()
        event.set()
        self._events.setdefault(path, set()).add(event)
        return event

    def discard(self, path: str, event: asyncio.Event) -> None:
        """Nobody waits for `event` any more."""
        events = self._events.get(path, set())
        events.discard(event)
        if not events:
            self._events.pop(path, None)

    def notify(self, paths: Iterable[str] | None) -> None:
        """These paths may have changed; None: any of them."""
        for path in list(self._events) if paths is None else paths:
            for event in self._events.get(path, ()):
                event.set()


class SessionBoard:
    """The session as the client knows it, and everybody who wants to hear of it. *Thread*: the event loop's."""

    def __init__(self, store: str) -> None:
        self.current = Session(SessionState.LOST, 0)
        self._store = store
        self._waiting: set[asyncio.Event] = set()
        self._closed = False

    def change(self, state: SessionState, session_id: int | None = None) -> None:
        """The session is in `state` now; `session_id` unless it is still the same."""
        new = Session(state, self.current.id if session_id is None else session_id)
        if new != self.current:
            self.current = new
            self._log()
            self._wake()

    def close(self) -> None:
        """The last state, and the end of every iterator."""
        self._closed = True
        self.current = Session(SessionState.LOST, self.current.id)
        self._wake()

    async def changes(self) -> AsyncGenerator[Session, None]:
        """See `Store.session_changes`."""
        event = asyncio.Event()
        event.set()
        self._waiting.add(event)
        try:
            while not self._closed:
                await event.wait()
                event.clear()
                yield self.current
        finally:
            self._waiting.discard(event)

    async def connected(self) -> bool:
        """Wait until the session is connected; False when the store was closed instead."""
        if self.current.state is SessionState.CONNECTED:
            return not self._closed  # nearly always: no iterator for it
        async with contextlib.aclosing(self.changes()) as changes:
            async for session in changes:
                if session.state is SessionState.CONNECTED:
                    return True
        return False

    def _log(self) -> None:
        level = log.info if self.current.state is SessionState.CONNECTED else log.warning
        level(f"session_{self.current.state.value}", session=f"{self.current.id:#x}", store=self._store)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()
