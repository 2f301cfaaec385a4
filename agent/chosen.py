"""A channel whose batches pass a chain before they are put: what is noted there is as safe as the events.

For what is pushed to a node, which has no positions before that. To its feed and its readers it is the channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qanat.batch import Batch
from qanat.chain import Chain
from qanat.component import Channel, Context, Cursor, Fill, Source


class Chosen(Channel):
    """`channel` behind `chain`, which is open while it is and changes nothing but shared attributes."""

    def __init__(self, channel: Channel, chain: Chain, context: Context) -> None:
        super().__init__(None, context)
        self._channel = channel
        self._chain = chain
        self.name = channel.name  # type: ignore[misc]  # what this is called in the flow
        self.keeps = channel.keeps  # type: ignore[misc]

    def open(self, cursors: Sequence[Cursor]) -> Mapping[str, int]:
        self._chain.open()
        return self._channel.open(cursors)

    def put(self, batch: Batch) -> bool:
        return self._channel.put(self._chain.apply(batch))

    def wait_for_room(self, timeout_s: float) -> None:
        self._channel.wait_for_room(timeout_s)

    def accepted(self) -> Mapping[str, int]:
        return self._channel.accepted()

    def forget(self, streams: Sequence[str]) -> None:
        self._channel.forget(streams)

    def reader(self, cursor: str) -> Source:
        return self._channel.reader(cursor)

    def fill(self) -> Fill | None:
        return self._channel.fill()

    def close(self) -> None:
        try:
            self._channel.close()
        finally:
            self._chain.close()
