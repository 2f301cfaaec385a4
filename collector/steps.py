"""Performs the steps that the receiver core asks for: store, sink, time."""

from __future__ import annotations

import asyncio
from typing import Any

from collector.sink_worker import SinkWorker
from qanat.coordination.store import Node, Store
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
from qanat.rpc.backoff import backoff_s


class StepPerformer:
    """One sink's hands. Errors are the core's to handle: they pass through."""

    def __init__(self, store: Store, worker: SinkWorker) -> None:
        self._store = store
        self._worker = worker

    async def perform(self, step: Step) -> Any:
        """The step's result; raises what `qanat.delivery.steps` says."""
        match step:
            case Wait():
                await asyncio.sleep(backoff_s(step.attempt, step.seconds) if step.attempt else step.seconds)
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
                await self._store.multi(step.ops)
        return None

    async def _get(self, step: Get) -> list[Node | None]:
        if step.fresh and step.paths:
            await self._store.sync(step.paths[0])
        return await self._store.get_many(step.paths)
