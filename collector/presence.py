"""What a collector says and hears of itself in the coordination store: that it lives, and whether the store is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import msgspec
import structlog

from collector.adoption import node_path
from qanat.control.documents import CollectorNode, encode
from qanat.coordination.registration import Registration
from qanat.coordination.store import SessionState, Store

log = structlog.get_logger(__name__)


class Presence:
    """Says in the store that this collector lives, and where its logical nodes listen.

    What is said last is what counts: it may change again while it is being written."""

    def __init__(self, store: Store, physical_node: str, host: str) -> None:
        self._said = self._node = CollectorNode(host=host)
        self._registration = Registration(store, node_path(physical_node), encode(self._node))
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled. Raises FencedError when a later process has this name."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._registration.run())
            group.create_task(self._follow())

    def listens(self, listening: Mapping[str, str]) -> None:
        """At `host:port` by logical node."""
        self._node = msgspec.structs.replace(self._node, listening=dict(listening))
        self._news.set()

    def leaves(self) -> None:
        """It is about to stop, and agents should go elsewhere."""
        self._node = msgspec.structs.replace(self._node, leaving=True)
        self._news.set()

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._node != self._said:
                self._said = self._node
                await self._registration.change(encode(self._node))


async def watch_store(store: Store, connected: Callable[[float], None]) -> None:
    """Tells people when the store goes away, and when it is back; until cancelled.

    Nothing else is to be done: commits are tried again until the store answers, and are fenced, so that it doesn't matter
    what happened to the session in between."""
    was_connected: bool | None = None
    async with contextlib.aclosing(store.session_changes()) as changes:
        async for session in changes:
            is_connected = session.state is SessionState.CONNECTED
            connected(float(is_connected))
            if is_connected and was_connected is False:
                log.info("collector_store_back", session=session.id)
            elif was_connected and not is_connected:
                log.warning(
                    "collector_store_lost",
                    state=session.state.value,
                    reason="the coordination store does not answer: nothing is committed or acknowledged until it does",
                )
            if is_connected or was_connected is not None:
                was_connected = is_connected
