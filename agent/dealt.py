"""Streams that are dealt out among agents, and move between them: each share is delivered under a name of its own.

A stream and its claim belong to a sender. Where agents take turns with a stream, the sender can't be the agent: it is the share,
whoever has it. So two agents that deliver one share are to collectors what two processes of one agent are: the later to say hello
takes the claim over and goes on where storage ends, and what the earlier one still sends is refused. Nothing depends on who deals
being right: that only decides who tries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from agent.dealer import Dealer, Share, Table
from agent.delivery import Delivery
from qanat.component import Source
from qanat.errors import FencedError
from qanat.rpc.backoff import backoff_s

log = structlog.get_logger(__name__)

# What a share that is called back waits for the acks of what was sent. What has none by then is sent again by the next.
DRAIN_S_MAX = 10.0

# After another has taken a share over that is ours by all that we were told. One of both will hear that it is not its share: a
# process that was paused, within a heartbeat of the group (3 s by default).
TAKEN_S = 3.0
TAKEN_S_MAX = 30.0

T = TypeVar("T")


Deliver = Callable[[Share, Source, tuple[str, ...]], Delivery]


class Dealt(Table):
    """One logical node of an agent, which delivers the shares it is dealt. `chain`: collectors of what is dealt from now on."""

    def __init__(self, dealer: Dealer, deliver: Deliver, chain: tuple[str, ...], label: str) -> None:
        self.chain = chain
        self.opened = asyncio.Event()
        self.may_begin = asyncio.Event()  # to join; as soon as it is open, unless somebody clears it before
        self.may_begin.set()
        self._dealer = dealer
        self._deliver = deliver
        self._label = label
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dealer")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: asyncio.TaskGroup | None = None
        self._held: dict[Share, asyncio.Task[None]] = {}
        self._serving: dict[Share, Delivery] = {}
        self._served: list[Delivery] = []  # that have ended since `stop`
        self._stopping = False

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """Of all shares that are held now, or were when it was stopped."""
        return (*self._serving.values(), *self._served)

    async def run(self) -> None:
        """*Blocking* until `stop`, then until what was sent is acked. Raises what a delivery raises; FencedError when a later
        process has this agent's place."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._ask(self._dealer.open)
            self.opened.set()
            await self.may_begin.wait()
            async with asyncio.TaskGroup() as self._group:
                await self._deal()
        finally:
            await self._ask(self._dealer.close)
            self._thread.shutdown(wait=True)

    def stop(self, *, leave: bool = False) -> None:
        """Read nothing more; `run` ends when what was sent is acked. Whoever deals is told what was, with `leave` or without."""
        self._stopping = True
        self.may_begin.set()
        for share, task in self._held.items():
            self._end(share, task)

    # On the dealer's thread.

    def give(self, shares: Sequence[Share]) -> None:
        assert self._loop is not None, "run has begun"
        self._loop.call_soon_threadsafe(self._begin, shares)

    def take(self, shares: Sequence[Share], *, is_lost: bool) -> None:
        assert self._loop is not None, "run has begun"
        asyncio.run_coroutine_threadsafe(self._let_go(shares, is_lost=is_lost), self._loop).result()

    # On the event loop.

    async def _deal(self) -> None:
        try:
            while not self._stopping:
                await self._ask(self._dealer.turn, self)
        except BaseException:
            self._stopping = True
            for task in self._held.values():  # also one that was begun since the group has failed
                task.cancel()
            raise

    def _ask(self, call: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        return asyncio.wrap_future(self._thread.submit(call, *args))

    def _begin(self, shares: Sequence[Share]) -> None:
        if self._stopping or self._group is None:
            return
        log.info("shares_given", node=self._label, shares=[share.name for share in shares])
        for share in shares:
            self._held[share] = self._task(self._hold(share, self._held.get(share)))

    def _task(self, hold: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None, "run has begun"
        return self._group.create_task(hold)

    async def _hold(self, share: Share, before: asyncio.Task[None] | None) -> None:
        """Deliver it for as long as it is ours. That another says so, too, is no reason to stop: see `TAKEN_S`."""
        if before is not None:
            await asyncio.wait((before,))
        attempt = 0
        while not self._stopping:
            try:
                await self._serve(share)
                return
            except FencedError as error:
                attempt += 1
                log.warning("share_taken_over", node=self._label, share=share.name, by=str(error))
            await asyncio.sleep(TAKEN_S + backoff_s(attempt, TAKEN_S_MAX))

    async def _serve(self, share: Share) -> None:
        delivery = self._deliver(share, self._dealer.source(share), self.chain)
        self._serving[share] = delivery
        try:
            await delivery.run()
        finally:
            del self._serving[share]
        if self._stopping:
            self._served.append(delivery)

    def _end(self, share: Share, task: asyncio.Task[None]) -> None:
        """Drain it. One that waits for its turn has nothing to drain."""
        if (delivery := self._serving.get(share)) is not None:
            delivery.stop(release=True)
        else:
            task.cancel()

    async def _let_go(self, shares: Sequence[Share], *, is_lost: bool) -> None:
        log.info("shares_taken", node=self._label, shares=[share.name for share in shares], is_lost=is_lost)
        held = {share: task for share in shares if (task := self._held.pop(share, None)) is not None}
        for share, task in held.items():
            if is_lost:
                task.cancel()
            else:
                self._end(share, task)
        if not held:
            return
        _, late = await asyncio.wait(held.values(), timeout=DRAIN_S_MAX)
        for task in late:
            log.warning("share_undrained", node=self._label, seconds=DRAIN_S_MAX)
            task.cancel()
        if late:
            await asyncio.wait(late)
