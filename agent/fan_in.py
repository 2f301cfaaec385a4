"""`[ a, b ]` in the place of a source: several as one. To its owner it is a source like any other.

Each has a state directory of its own, and streams of its own: those of the second are called `1|...`, and so on. The first keeps
the names that it has alone, so a flow that becomes a fan-in goes on where it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from qanat.batch import Batch
from qanat.component import (
    Context,
    Events,
    Inlet,
    LiveSource,
    Parcel,
    Source,
    StreamEvent,
)

SEPARATOR = "|"
_NUMBERED = re.compile(r"[0-9]{1,9}\|")

# How long the others are not looked at while one is waited for. Nobody notices it in the age of an event, and twenty looks a
# second cost nothing.
TURN_S = 0.05


def name(index: int, stream: str) -> str:
    """What a stream of that source is called outside."""
    return f"{index}{SEPARATOR}{stream}" if index or _NUMBERED.match(stream) else stream


def whose(stream: str) -> tuple[int, str]:
    """Which source's stream it is, and what that calls it."""
    if not _NUMBERED.match(stream):
        return 0, stream
    number, _, own = stream.partition(SEPARATOR)
    return int(number), own


def directory(index: int) -> str:
    """Within the state directory of the node; "" for the first, whose it is."""
    return f"source-{index}" if index else ""


def parts_of(source: Source | LiveSource) -> Sequence[Source | LiveSource]:
    """The sources that it reads as one; itself if it is one."""
    return source.sources if isinstance(source, FanIn) else (source,)


class FanIn(Source):
    """Several sources that can be read again, each in its turn."""

    def __init__(self, sources: Sequence[Source], context: Context) -> None:
        super().__init__(None, context)
        self.sources = self._sources = sources
        self._turn = 0
        self._is_woken = False

    def open(self) -> None:
        for source in self._sources:
            source.open()

    def recover(self, known: Mapping[str, int]) -> None:
        for source, own in zip(self._sources, _parted(known, len(self._sources)), strict=True):
            source.recover(own)

    def knows_its_streams(self) -> bool:
        return all(source.knows_its_streams() for source in self._sources)

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        until_s = time.monotonic() + timeout_s
        news = self._news()
        while not news and not self._is_woken and (left_s := until_s - time.monotonic()) > 0:
            if any(
                self._has_something(index, min(TURN_S, left_s), news) for index in range(len(self._sources))
            ):
                break
        self._is_woken = False
        return news

    def _news(self) -> list[StreamEvent]:
        return [
            _renamed(index, event) for index, source in enumerate(self._sources) for event in source.poll(0.0)
        ]

    def _has_something(self, index: int, turn_s: float, news: list[StreamEvent]) -> bool:
        """*Blocking* for a source's part of a turn; it ends earlier when there is something to hear, to read or to stop for."""
        part_s, began_s = turn_s / len(self._sources), time.monotonic()
        news += [_renamed(index, event) for event in self._sources[index].poll(part_s)]
        return bool(news) or self._is_woken or time.monotonic() - began_s < part_s / 2

    def seek(self, stream: str, position: int) -> None:
        index, own = whose(stream)
        self._sources[index].seek(own, position)

    def read(self, max_bytes: int) -> Batch | None:
        for step in range(len(self._sources)):
            index = (self._turn + step) % len(self._sources)
            batch = self._sources[index].read(max_bytes)
            if batch is not None:
                self._turn = index + 1
                return replace(batch, stream=name(index, batch.stream))
        return None

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        for source, own in zip(self._sources, _parted(positions, len(self._sources)), strict=True):
            if own:
                source.acknowledge(own)

    def save(self) -> None:
        for source in self._sources:
            source.save()

    def wake(self) -> None:
        self._is_woken = True
        for source in self._sources:
            source.wake()

    def lag_bytes(self) -> int:
        return sum(source.lag_bytes() for source in self._sources)

    def is_over(self) -> bool:
        return all(source.is_over() for source in self._sources)

    def is_held_back(self) -> bool:
        return any(source.is_held_back() for source in self._sources)

    def close(self) -> None:
        _close(self._sources)


@dataclass(frozen=True, slots=True)
class _Content:
    """Of a parcel, and which source knows what it means."""

    index: int
    content: Any


class LiveFanIn(LiveSource):
    """Several sources that are pushed to, in the order in which things come."""

    def __init__(self, sources: Sequence[LiveSource], context: Context) -> None:
        super().__init__(None, context)
        self._sources = sources

    def open(self) -> None:
        for source in self._sources:
            source.open()

    def recover(self, known: Mapping[str, int]) -> list[str]:
        parted = zip(self._sources, _parted(known, len(self._sources)), strict=True)
        return [name(index, own) for index, (source, of) in enumerate(parted) for own in source.recover(of)]

    def start(self, inlet: Inlet) -> None:
        for index, source in enumerate(self._sources):
            source.start(_Marking(inlet, index))

    def stop(self) -> None:
        for source in self._sources:
            source.stop()

    def close(self) -> None:
        _close(self._sources)

    def form(self, parcels: Sequence[Parcel]) -> list[Events]:
        formed: list[Events] = []
        for index, group in groupby(parcels, lambda each: _content(each).index):
            own = [replace(each, content=_content(each).content) for each in group]
            formed += self._sources[index].form(own)
        return formed

    def lag_bytes(self) -> int:
        return sum(source.lag_bytes() for source in self._sources)


class _Marking(Inlet):
    """The inlet as one of the sources sees it."""

    def __init__(self, inlet: Inlet, index: int) -> None:
        self._inlet = inlet
        self._index = index
        # What may be withdrawn, and as what it is in the inlet; as many as wait for an answer.
        self._unsettled: dict[int, tuple[Parcel, Parcel]] = {}

    def offer(self, parcel: Parcel) -> bool:
        return self._give(parcel, self._inlet.offer)

    def put(self, parcel: Parcel, timeout_s: float) -> bool:
        return self._give(parcel, lambda marked: self._inlet.put(marked, timeout_s))

    def when_room(self, call: Callable[[], None]) -> None:
        self._inlet.when_room(call)

    def withdraw(self, parcel: Parcel) -> bool:
        _, marked = self._unsettled.get(id(parcel), (None, None))
        if marked is None or not self._inlet.withdraw(marked):
            return False
        self._unsettled.pop(id(parcel), None)
        return True

    def fail(self, error: BaseException) -> None:
        self._inlet.fail(error)

    def _give(self, parcel: Parcel, give: Callable[[Parcel], bool]) -> bool:
        marked = self._marked(parcel)
        settled = parcel.settled
        if settled is None:
            return give(marked)

        def settle(is_safe: bool) -> None:
            self._unsettled.pop(id(parcel), None)
            settled(is_safe)

        marked = replace(marked, settled=settle)
        self._unsettled[id(parcel)] = (parcel, marked)
        is_taken = give(marked)
        if not is_taken:
            self._unsettled.pop(id(parcel), None)
        return is_taken

    def _marked(self, parcel: Parcel) -> Parcel:
        if parcel.stream:  # its content is formed already
            return replace(parcel, stream=name(self._index, parcel.stream))
        return replace(parcel, content=_Content(self._index, parcel.content))


def _content(parcel: Parcel) -> _Content:
    assert isinstance(parcel.content, _Content), "every source has an inlet that marks"
    return parcel.content


def _renamed(index: int, event: StreamEvent) -> StreamEvent:
    return replace(event, stream=name(index, event.stream))


def _parted(positions: Mapping[str, int], sources: int) -> list[dict[str, int]]:
    """By source; what a source that is gone had is nobody's."""
    found: list[dict[str, int]] = [{} for _ in range(sources)]
    for stream, position in positions.items():
        index, own = whose(stream)
        if index < sources:
            found[index][own] = position
    return found


def _close(sources: Iterable[Source | LiveSource]) -> None:
    """All of them, also when one raises."""
    with ExitStack() as stack:
        for source in sources:
            stack.callback(source.close)
