"""A channel whose batches pass a chain before they are put: what is noted there is as safe as the events.

To its feed and its readers it is the channel. Where the chain chooses the least loaded destination, it hears from here what was
put for each of them, and what each has acknowledged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from qanat.batch import Batch
from qanat.chain import Chain
from qanat.component import Channel, Context, Cursor, Fill, Source, StreamEvent
from qanat.decorators.common.cases import NOTE
from qanat.loads import Member


class Chosen(Channel):
    """`channel` behind `chain`, which is open while it is and changes nothing but shared attributes.

    `shares`: which share of the load each cursor gets."""

    def __init__(self, channel: Channel, chain: Chain, context: Context, shares: Mapping[str, int]) -> None:
        super().__init__(None, context)
        self._channel = channel
        self._chain = chain
        self._loads = chain.loads
        self._members = (
            {}
            if self._loads is None
            else {cursor: self._loads.join(share) for cursor, share in shares.items()}
        )

    def member(self, cursor: str) -> Member | None:
        """Of those among whom the least loaded is chosen; None when that is not how it is done."""
        return self._members.get(cursor)

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        self._chain.open()
        return self._channel.open(cursors)

    def put(self, batch: Batch) -> bool:
        chosen = self._chain.apply(batch)
        if self._loads is None or not chosen.count:
            return self._channel.put(chosen)
        before = self._channel.next_number()
        was_taken = self._channel.put(chosen)
        if (end := self._channel.next_number()) > before:
            self._loads.given(int(chosen.attributes[NOTE]), end, chosen.payload_bytes)
        return was_taken

    @property
    def kind(self) -> type[Channel]:
        return self._channel.kind

    def wait_for_room(self, timeout_s: float) -> None:
        self._channel.wait_for_room(timeout_s)

    def accepted(self) -> Mapping[str, int]:
        return self._channel.accepted()

    def forget(self, streams: Sequence[str]) -> None:
        self._channel.forget(streams)

    def next_number(self) -> int:
        return self._channel.next_number()

    def reader(self, cursor: str) -> Source:
        reader = self._channel.reader(cursor)
        member = self._members.get(cursor)
        if member is None or self._loads is None:
            return reader
        # What an earlier process has left is of all destinations: each one's part of it is not known before it is read.
        if left_bytes := reader.lag_bytes() // self._loads.shares:
            member.given(self._channel.next_number(), left_bytes)
        return _Told(reader, member)

    def fill(self) -> Fill | None:
        return self._channel.fill()

    def close(self) -> None:
        try:
            self._channel.close()
        finally:
            self._chain.close()


class _ToldConfig(msgspec.Struct, frozen=True):
    """It is told nothing: no flow names it."""


class _Told(Source):
    """A channel's reader; `member` hears what was acknowledged."""

    name: ClassVar[str] = "channel"
    Config: ClassVar[type[msgspec.Struct]] = _ToldConfig

    def __init__(self, reader: Source, member: Member) -> None:
        super().__init__(_ToldConfig(), reader.context)
        self._reader = reader
        self._member = member
        self._stream = ""  # of what is read: collectors may know others, of earlier channels

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        self._reader.acknowledge(positions)
        if self._stream in positions:
            self._member.stored(positions[self._stream])

    def read(self, max_bytes: int) -> Batch | None:
        batch = self._reader.read(max_bytes)
        if batch is not None:
            self._stream = batch.stream
        return batch

    def open(self) -> None:
        self._reader.open()

    def recover(self, known: Mapping[str, int]) -> None:
        self._reader.recover(known)

    def knows_its_streams(self) -> bool:
        return self._reader.knows_its_streams()

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        return self._reader.poll(timeout_s)

    def seek(self, stream: str, position: int) -> None:
        self._reader.seek(stream, position)

    def save(self) -> None:
        self._reader.save()

    def wake(self) -> None:
        self._reader.wake()

    def lag_bytes(self) -> int:
        return self._reader.lag_bytes()

    def is_held_back(self) -> bool:
        return self._reader.is_held_back()

    def close(self) -> None:
        self._reader.close()
