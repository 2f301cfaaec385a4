"""The taps that masters have asked a physical node for: taken from its `TapPoints`, passed on a few times a second.

A tap ends by itself: after so many events, after so much time, with the logical node, with the connection to the master that
asked for it, and when it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from qanat.control.sampling import Sampled, Sampler, TapPoints
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

# Soon enough for eyes, rare enough to cost nothing.
FLUSH_S = 0.2

# At one time, over all logical nodes of this one: nobody looks through more windows.
TAPS_MAX = 16

# Whatever it was asked for: somebody who looks longer asks again.
TAP_S_MAX = 3600.0


class Master(Protocol):
    """Whoever is asking. `session`: another one after every new connection; 0 while there is none."""

    @property
    def session(self) -> int: ...

    @property
    def has_room(self) -> bool:
        """It takes what it is told; else samples wait, and are dropped when they become too many."""

    def say(self, message: wire.FromNode) -> None: ...


class Tapping:
    """`runs`: whether a logical node is one of this node's. *Thread*: the event loop's."""

    def __init__(self, points: TapPoints, runs: Callable[[str], bool], master: Master) -> None:
        self._points = points
        self._runs = runs
        self._master = master
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, tap: wire.Tap) -> None:
        """Sample from now on."""
        if tap.tap_id in self._tasks:
            return
        if not self._runs(tap.logical):
            self._end(tap.tap_id, f"{tap.logical} does not run here")
        elif len(self._tasks) >= TAPS_MAX:
            self._end(tap.tap_id, f"this node is tapped {TAPS_MAX} times already")
        else:
            task = asyncio.get_running_loop().create_task(self._run(tap))
            self._tasks[tap.tap_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(tap.tap_id, None))

    def stop(self, tap_id: str) -> None:
        """Nobody looks any more."""
        task = self._tasks.get(tap_id)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, tap: wire.Tap) -> None:
        log.info(
            "tap_begun", node=tap.logical, tap=tap.tap_id
        )  # somebody looks at what may be nobody's business
        point = self._points.at(tap.logical)
        sampler = Sampler(tap.contains)
        point.add(sampler)
        try:
            why = await self._pass_on(tap, sampler)
        finally:
            point.remove(sampler)
            log.info("tap_ended", node=tap.logical, tap=tap.tap_id)
        if why is not None:
            self._end(tap.tap_id, why)

    async def _pass_on(self, tap: wire.Tap, sampler: Sampler) -> str | None:
        """Gives why it ended; None when there is nobody to be told."""
        loop = asyncio.get_running_loop()
        session = self._master.session
        until_s = loop.time() + min(tap.seconds, TAP_S_MAX)
        left = tap.events_max
        while True:
            await asyncio.sleep(max(0.0, min(FLUSH_S, until_s - loop.time())))
            if self._master.session != session:
                return None
            if self._master.has_room:
                left -= self._flush(tap.tap_id, sampler, left)
            if sampler.failure:
                return f"a sample could not be taken: {sampler.failure}"
            if left <= 0:
                return f"{tap.events_max} events were sampled"
            if loop.time() >= until_s:
                return "the time is over"
            if not self._runs(tap.logical):
                return f"{tap.logical} was removed from this node"

    def _flush(self, tap_id: str, sampler: Sampler, events_max: int) -> int:
        events, dropped = sampler.drain(events_max)
        if events or dropped:
            sample = wire.TapEvents(tap_id=tap_id, events=map(_as_message, events), dropped=dropped)
            self._master.say(wire.FromNode(tap=sample))
        return len(events)

    def _end(self, tap_id: str, why: str) -> None:
        self._master.say(wire.FromNode(tap=wire.TapEvents(tap_id=tap_id, ended=True, why=why)))


def _as_message(event: Sampled) -> wire.TapEvent:
    return wire.TapEvent(
        body=event.body,
        body_bytes=event.body_bytes,
        timestamp_ns=event.timestamp_ns,
        stream=event.stream,
        position=event.position,
        attributes=event.attributes,
    )
