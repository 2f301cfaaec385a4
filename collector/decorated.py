"""A sink behind decorators. Whoever owns it hands it batches as they were received; acks and positions are those."""

from __future__ import annotations

from qanat.batch import Batch
from qanat.chain import Chain
from qanat.component import Context, LeftBehind, Prepared, Sink


class DecoratedSink(Sink):
    """`sink` behind `chain`, which is open while the sink is."""

    def __init__(self, sink: Sink, chain: Chain, context: Context) -> None:
        super().__init__(None, context)
        self._sink = sink
        self._chain = chain

    def left_behind(self, token: bytes) -> LeftBehind | None:
        return self._sink.left_behind(token)

    def claim(self, *, by_force: bool = False) -> None:
        self._sink.claim(by_force=by_force)

    def open(self, token: bytes | None) -> None:
        self._chain.open()
        self._sink.open(token)

    def append(self, batch: Batch) -> None:
        self._sink.append(self._chain.apply(batch))

    def prepare(self) -> Prepared:
        return self._sink.prepare()

    def publish(self, token: bytes) -> None:
        self._sink.publish(token)

    def discard(self, token: bytes | None) -> None:
        self._sink.discard(token)

    def drain(self) -> None:
        self._sink.drain()

    def backlog_bytes(self) -> int:
        return self._sink.backlog_bytes()

    def close(self) -> None:
        try:
            self._sink.close()
        finally:
            self._chain.close()

    def pause_s(self) -> float:
        return max(self._chain.pause_s(), self._sink.pause_s())
