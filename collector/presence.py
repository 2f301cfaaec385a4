"""What a collector says and hears of itself in the coordination store: that it lives, and whether the store is there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import structlog

from collector.adoption import node_path
from qanat.coordination.registration import Registration
from qanat.coordination.store import SessionState, Store

log = structlog.get_logger(__name__)


async def register(store: Store, physical_node: str, host: str) -> None:
    """Until cancelled. Raises FencedError when a later process has this name."""
    value = msgspec.json.encode({"role": "collector", "host": host})
    await Registration(store, node_path(physical_node), value).run()


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
