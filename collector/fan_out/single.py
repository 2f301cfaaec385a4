"""A node's only sink, which may have been the first of several.

Then the record has the token of a fan-out, and the log may still have events for it: it goes on as a fan-out of one, which passes
those on first. One that has always stood alone has nothing to do with all that.
"""

from __future__ import annotations

from collector.fan_out.sink import FanOut
from qanat.batch import Batch
from qanat.component import Context, LeftBehind, Prepared, Sink
from qanat.delivery.fan_out_token import is_fan_out


class Single(Sink):
    """`fan_out`: of `sink` alone."""

    def __init__(self, sink: Sink, fan_out: FanOut, context: Context) -> None:
        super().__init__(None, context)
        self._sink = sink
        self._fan_out = fan_out
        self._now = sink

    def _of(self, token: bytes | None) -> Sink:
        return self._fan_out if token is not None and is_fan_out(token) else self._sink

    def left_behind(self, token: bytes) -> LeftBehind | None:
        return self._of(token).left_behind(token)

    def claim(self, *, by_force: bool = False) -> None:
        """Before the record is read nobody knows which it is."""
        self._fan_out.claim(by_force=by_force)

    def open(self, token: bytes | None) -> None:
        self._now = self._of(token)
        self._now.open(token)

    def append(self, batch: Batch) -> None:
        self._now.append(batch)

    def prepare(self) -> Prepared:
        return self._now.prepare()

    def publish(self, token: bytes) -> None:
        self._now.publish(token)

    def discard(self, token: bytes | None) -> None:
        self._now.discard(token)

    def drain(self) -> None:
        self._now.drain()

    def backlog_bytes(self) -> int:
        return self._now.backlog_bytes()

    def pause_s(self) -> float:
        return self._now.pause_s()

    def close(self) -> None:
        self._fan_out.close()
