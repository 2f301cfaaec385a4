"""Look again whenever something in the store may have changed, until it was really seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from qanat.coordination.store import Store
from qanat.errors import CorruptError, OutcomeUnknownError, RetryableError
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

# The store has waited for a connection already before it says that there is none.
_RETRY_S_MAX = 2.0


async def follow(store: Store, path: str, look: Callable[[], Awaitable[object]]) -> None:
    """Call `look` now and after every change of `path` or its children's names; until cancelled."""
    async with contextlib.aclosing(store.watch(path)) as changes:
        async for _ in changes:
            await persistently(look)


async def persistently(look: Callable[[], Awaitable[object]]) -> None:
    """Until `look` was done: the store may be away for as long as it likes."""
    attempt = 0
    while True:
        try:
            await look()
        except (RetryableError, OutcomeUnknownError):
            attempt += 1
            await asyncio.sleep(backoff_s(attempt, _RETRY_S_MAX))
        except CorruptError as error:
            log.error("document_unreadable", reason=str(error))
            return
        else:
            return
