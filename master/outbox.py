"""What a master has to say to one node: bounded, because newer things replace older ones of their kind."""

from __future__ import annotations

import asyncio

from qanat.wire.v1 import control_pb2 as wire

# Of taps and refreshes, which do not replace each other: nobody watches a node through more windows than that.
WAITING_MAX = 100

_REPLACING = {"registered", "assign", "limits", "heard", "move", "refused"}


class Outbox:
    """Messages in the order in which their kinds were first said. *Thread*: the event loop's."""

    def __init__(self) -> None:
        self._waiting: dict[str, wire.ToNode] = {}
        self._number = 0
        self._taker: asyncio.Future[None] | None = None
        self._is_closed = False

    def put(self, message: wire.ToNode) -> bool:
        """False when it was dropped: the node does not take what was said before."""
        kind = message.WhichOneof("message") or ""
        if kind not in _REPLACING:
            if len(self._waiting) >= WAITING_MAX:
                return False
            self._number += 1
            kind = f"{kind} {self._number}"
        self._waiting[kind] = message
        self._wake()
        return True

    def close(self) -> None:
        """What is in it is still said, and then the stream ends."""
        self._is_closed = True
        self._wake()

    def _wake(self) -> None:
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    async def take(self) -> list[wire.ToNode]:
        """Everything, once there is something; nothing once it is closed and empty. One task takes, no more: a future is
        half of what an event costs, and each node waits with every message."""
        if not self._waiting and not self._is_closed:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        taken, self._waiting = list(self._waiting.values()), {}
        return taken
