"""Which producers there are, and how far each was heard: what makes a repetition one. [pure]

A producer's numbers from `base` on are a stream of the channel. Who says that more was acknowledged than is known here (the
state of the agent was lost, or an earlier one was restored) begins a new stream, with a new base.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# Producers that are remembered: each takes some 500 bytes here, and a place in each snapshot of the channel's positions.
PRODUCERS_MAX = 100_000


@dataclass(slots=True)
class Producer:
    """`received`: the number behind the last event that was handed over; `safe`: all before it are in the channel."""

    name: str
    base: int
    received: int
    safe: int
    seen_ns: int
    connection: object | None = None

    @property
    def stream(self) -> str:
        """Its name in the channel."""
        return f"{self.name}/{self.base}"


class Producers:
    """All of one source."""

    def __init__(self) -> None:
        self._known: dict[str, Producer] = {}

    def recover(
        self, known: Mapping[str, int], seen_ns: Mapping[str, int], oldest_ns: int, now_ns: int
    ) -> Iterable[str]:
        """`known`: how far the channel has each stream. Gives those that go on: not of who was not seen since `oldest_ns`."""
        self._known.clear()
        for stream, end in known.items():
            name, _, base = stream.rpartition("/")
            producer = Producer(name, int(base), int(base) + end, int(base) + end, seen_ns.get(name, now_ns))
            earlier = self._known.get(name)
            if producer.seen_ns >= oldest_ns and (earlier is None or earlier.base < producer.base):
                self._known[name] = producer
        return [each.stream for each in self._known.values()]

    def hello(self, name: str, next_: int, now_ns: int) -> tuple[Producer | None, str]:
        """The producer, and a stream that ends for it, if any; None: there are too many."""
        known = self._known.get(name)
        ended = ""
        if known is None and len(self._known) >= PRODUCERS_MAX:
            return None, ""
        if known is not None and next_ > known.received:
            ended = known.stream
        if known is None or ended:
            known = self._known[name] = Producer(name, next_, next_, next_, now_ns)
        known.seen_ns = now_ns
        return known, ended

    def forget(self, producer: Producer) -> None:
        """It ended."""
        if self._known.get(producer.name) is producer:
            del self._known[producer.name]

    def unseen(self, oldest_ns: int) -> list[Producer]:
        """Who is not connected, and was not since then."""
        return [each for each in self._known.values() if each.connection is None and each.seen_ns < oldest_ns]

    def seen_ns(self, now_ns: int) -> dict[str, int]:
        """When each was there last."""
        return {
            name: now_ns if each.connection is not None else each.seen_ns
            for name, each in self._known.items()
        }
