"""A live sample of events: of a logical node or a whole flow, on all nodes that run it, whichever master has them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from master import naming
from master.desk import Desk
from master.operations.cluster import silent_masters
from master.peers import Answers
from master.status import merged
from master.tapping import TapQueue
from qanat.control.operations import cluster as calls
from qanat.control.operations.errors import Kind, OperationError
from qanat.wire.v1 import control_pb2 as wire

# Logical nodes on physical ones that one tap samples at a time: more is more than anybody reads.
TAPPED_MAX = 20

# How often nodes are looked for that came later, or are attached elsewhere now.
LOOK_S = 2.0

# How soon after a node's master has gone, and how long until nobody is expected back: nodes attach elsewhere within seconds.
LOOK_AGAIN_S, BACK_S_MAX = 0.5, 10.0


@dataclass(frozen=True, slots=True)
class _Place:
    """A logical node on a physical one, as long as it is attached to this master."""

    physical: str
    logical: str
    master: str

    def __str__(self) -> str:
        return f"{self.logical} on {self.physical}"


async def tap(desk: Desk, request: calls.Tap, author: str) -> AsyncGenerator[calls.Tapped, None]:
    """Until so many events were shown, or the time is over, or nobody is left to be tapped."""
    sampling = _Sampling(desk, request, time.monotonic() + request.seconds)
    try:
        yield calls.Tapped(events=[], notes=await sampling.begin())
        left = request.events_max
        while left > 0 and (found := await sampling.next()) is not None:
            place, sample = found
            shown = [_shown(place, event) for event in sample.events[:left]]
            left -= len(shown)
            dropped = sample.dropped + len(sample.events) - len(shown)
            # A sample that is complete needs no word about why it has ended.
            notes = [f"{place}: {sample.why}"] if sample.ended and left > 0 and sample.why else []
            yield calls.Tapped(events=shown, dropped=dropped, notes=notes)
    finally:
        await sampling.end()


class _Sampling:
    """All nodes that one tap samples."""

    def __init__(self, desk: Desk, request: calls.Tap, until_s: float) -> None:
        self._desk = desk
        self._request = request
        self._until_s = until_s
        self._logical: set[str] = set()
        self._open: dict[_Place, asyncio.Task[None]] = {}
        self._over: set[tuple[str, str]] = set()  # has said all that it will: physical, logical
        self._lost_at_s = -math.inf
        self._samples: asyncio.Queue[tuple[_Place, wire.TapEvents]] = asyncio.Queue(1)
        self._look_at_s = 0.0

    async def begin(self) -> list[str]:
        """Gives what people should know. Raises OperationError when there is nothing to sample."""
        self._logical = await self._names()
        answers = await self._look()
        if not self._open:
            where = f" on {self._request.physical}" if self._request.physical else ""
            silent = "".join(f"; {each}" for each in silent_masters(answers))
            raise OperationError(
                Kind.NOT_FOUND,
                f"no attached node runs {self._request.logical}{where}; `qanat status {self._request.logical}` says where "
                f"it should run{silent}",
            )
        places = sorted(map(str, self._open))
        return [f"sampling {', '.join(places)}", *silent_masters(answers)]

    async def next(self) -> tuple[_Place, wire.TapEvents] | None:
        """The next sample; None when none will come."""
        while (now_s := time.monotonic()) < self._until_s:
            if now_s >= self._look_at_s:
                await self._look()
            if not self._open and self._samples.empty() and now_s - self._lost_at_s > BACK_S_MAX:
                return None
            wait_s = min(self._look_at_s, self._until_s) - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait_s)):
                    place, sample = await self._samples.get()
                    if sample.ended:
                        self._ended(place, is_lost=sample.lost)
                    return place, sample
        return None

    def _ended(self, place: _Place, *, is_lost: bool) -> None:
        self._open.pop(place, None)
        if is_lost:
            self._lost_at_s = time.monotonic()
            self._look_at_s = min(self._look_at_s, self._lost_at_s + LOOK_AGAIN_S)
        else:
            self._over.add((place.physical, place.logical))

    async def end(self) -> None:
        """Nobody samples for this any more."""
        for task in self._open.values():
            task.cancel()
        await asyncio.gather(*self._open.values(), return_exceptions=True)

    async def _names(self) -> set[str]:
        """The logical nodes that are meant: the one of this name, else all of the flow of this name."""
        name = self._request.logical
        snapshot = await self._desk.snapshot()
        logical, flows = naming.logical(snapshot), naming.flows(snapshot)
        if name not in logical | flows:
            running = await self._desk.peers.status(wire.StatusRequest(names=[name]))
            if not any(_runs(node, {name}) for _, node in merged(running.replies).values()):
                raise naming.unknown("flow or logical node", [name], logical | flows, "`qanat get`")
        return set(naming.with_flows(snapshot, [name]))

    async def _look(self) -> Answers:
        """Begin to sample wherever it is not done yet."""
        self._look_at_s = time.monotonic() + LOOK_S
        answers = await self._desk.peers.status(wire.StatusRequest(names=sorted(self._logical)))
        known = self._over | {(each.physical, each.logical) for each in self._open}
        places = {
            _Place(name, logical, master)
            for name, (master, node) in merged(answers.replies).items()
            if self._request.physical in ("", name)
            for logical in _runs(node, self._logical)
            if (name, logical) not in known
        }
        for place in sorted(places, key=str)[: TAPPED_MAX - len(self._open)]:
            self._open[place] = asyncio.create_task(self._sample(place))
        return answers

    async def _sample(self, place: _Place) -> None:
        left_s = self._until_s - time.monotonic()
        asked = wire.Tap(
            tap_id=secrets.token_hex(8),
            logical=place.logical,
            events_max=self._request.events_max,
            seconds=max(0.1, left_s),
            contains=self._request.contains.encode(),
        )
        request = wire.TapRequest(name=place.physical, tap=asked)
        waiting = TapQueue()
        passing = asyncio.create_task(self._pass_on(place, waiting))
        try:
            async with contextlib.aclosing(self._desk.peers.tap(place.master, request)) as samples:
                async for sample in samples:
                    waiting.put(sample)
                    if sample.ended:
                        break
                else:
                    why = f"{place.master} ended the connection"
                    waiting.put(wire.TapEvents(ended=True, lost=True, why=why))
            await passing
        finally:
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)

    async def _pass_on(self, place: _Place, waiting: TapQueue) -> None:
        """As fast as whoever asked reads; what comes faster is dropped in the queue before this one."""
        ended = False
        while not ended:
            sample = await waiting.get()
            ended = sample.ended
            await self._samples.put((place, sample))


def _runs(node: wire.NodeStatus, logical: set[str]) -> set[str]:
    """Those of the logical nodes that it runs, or should."""
    wanted = {each.logical for each in node.wanted}
    return logical & (wanted | {each.logical for each in node.report.logical})


def _shown(place: _Place, event: wire.TapEvent) -> calls.TapEvent:
    return calls.TapEvent(
        physical=place.physical,
        logical=place.logical,
        body=event.body.decode("utf-8", "replace"),
        body_bytes=event.body_bytes,
        timestamp_ns=event.timestamp_ns,
        stream=event.stream,
        position=event.position,
        attributes=dict(event.attributes),
    )
