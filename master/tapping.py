"""Samples on their way from a node to whoever asked: bounded, and counted where they find no room."""

from __future__ import annotations

import asyncio
from collections import deque

from qanat.wire.v1 import control_pb2 as wire

# Samples that wait for whoever asked for them: some seconds of what a node sends, so that a reader may stumble.
MESSAGES_MAX = 20


class TapQueue:
    """What one node samples for one tap. *Thread*: the event loop's."""

    def __init__(self) -> None:
        self._waiting: deque[wire.TapEvents] = deque()
        self._filled = asyncio.Event()
        self._dropped = 0

    def put(self, events: wire.TapEvents) -> None:
        """Never waits. The end always finds room."""
        if len(self._waiting) >= MESSAGES_MAX and not events.ended:
            self._dropped += len(events.events) + events.dropped
            return
        self._waiting.append(events)
        self._filled.set()

    async def get(self) -> wire.TapEvents:
        """The next one, with what was dropped meanwhile."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        events = self._waiting.popleft()
        events.dropped += self._dropped
        self._dropped = 0
        return events
