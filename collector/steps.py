"""Performs the steps that the receiver core asks for: store, sink, time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, TypeVar

from collector.sink_worker import SinkWorker
from qanat.coordination.store import Node, SessionState, Store
from qanat.delivery.steps import (
    Get,
    Multi,
    SinkClaim,
    SinkDiscard,
    SinkOpen,
    SinkPrepare,
    SinkPublish,
    SinkSync,
    Step,
    Wait,
)
from qanat.errors import NotConnectedError, OutcomeUnknownError
from qanat.rpc.backoff import backoff_s

T = TypeVar("T")

# What a stopping collector gives a store that does not answer: what is not acked is sent again, and who stops a service waits
# for it. A store that is there is waited for as always.
STOP_S = 1.0

# Between attempts then.
STOP_RETRY_S = 0.1


_AWAY = f"the collector stops, and the coordination store has not answered for {STOP_S:g} s"


class StepPerformer:
    """One sink's hands. Errors are the core's to handle: they pass through."""

    def __init__(self, store: Store, worker: SinkWorker) -> None:
        self._store = store
        self._worker = worker
        self._is_stopping = False
        self._given_up = asyncio.Event()  # stopping, and long enough

    def stop(self) -> None:
        """From here on, wait no longer than `STOP_S` for a store that does not answer."""
        if not self._is_stopping:
            self._is_stopping = True
            asyncio.get_running_loop().call_later(STOP_S, self._given_up.set)

    async def perform(self, step: Step) -> Any:
        """The step's result; raises what `qanat.delivery.steps` says."""
        match step:
            case Wait():
                await asyncio.sleep(self._pause_s(step))
            case SinkPrepare():
                return await self._worker.prepare(drain=step.drain)
            case SinkSync():
                await self._worker.sync()
            case SinkPublish():
                await self._worker.publish(step.token)
            case SinkDiscard():
                await self._worker.discard(step.token)
            case SinkClaim():
                await self._worker.claim()
            case SinkOpen():
                await self._worker.open(step.token)
            case Get():
                return await self._get(step)
            case Multi():
                await self._asked(
                    self._store.multi(step.ops),
                    OutcomeUnknownError(f"{_AWAY}; what it was told last may have been applied"),
                )
        return None

    async def _get(self, step: Get) -> list[Node | None]:
        nothing = NotConnectedError(_AWAY)
        if step.fresh and step.paths:
            await self._asked(self._store.sync(step.paths[0]), nothing)
        return await self._asked(self._store.get_many(step.paths), nothing)

    def _pause_s(self, step: Wait) -> float:
        pause_s = backoff_s(step.attempt, step.seconds) if step.attempt else step.seconds
        return min(pause_s, STOP_RETRY_S) if self._is_stopping else pause_s

    async def _asked(self, request: Awaitable[T], given_up: Exception) -> T:
        """What the store answers; `given_up` when this collector has stopped and the store is not there."""
        answer = asyncio.ensure_future(request)
        stopping = asyncio.ensure_future(self._given_up.wait())
        try:
            await asyncio.wait({answer, stopping}, return_when=asyncio.FIRST_COMPLETED)
            while not answer.done() and self._store.session.state is SessionState.CONNECTED:
                await asyncio.wait({answer}, timeout=STOP_RETRY_S)  # it may turn out to be gone
            if answer.done():
                return answer.result()
            answer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                return await answer
            raise given_up
        finally:
            stopping.cancel()
            answer.cancel()
