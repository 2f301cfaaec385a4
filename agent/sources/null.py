"""`null`: nothing, as of Flume OG: for a logical node that has to be there and shall do nothing.

Guarantee: there is nothing to lose.

    spare : null | agentE2EChain("c1") ;
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context, Source, StreamEvent


class NullConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `null` accepts."""


class Null(Source):
    """No stream."""

    name: ClassVar[str] = "null"
    Config: ClassVar[type[msgspec.Struct]] = NullConfig

    def __init__(self, config: NullConfig, context: Context) -> None:
        super().__init__(config, context)
        self._woken = threading.Event()

    def open(self) -> None:
        """Nothing."""

    def recover(self, known: Mapping[str, int]) -> None:
        """Nothing."""

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        """No news."""
        self._woken.wait(timeout_s)
        self._woken.clear()
        return []

    def seek(self, stream: str, position: int) -> None:
        """No stream is told of."""

    def read(self, max_bytes: int) -> Batch | None:
        """Nothing."""
        return None

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        """Nothing."""

    def save(self) -> None:
        """Nothing."""

    def wake(self) -> None:
        """See Source.wake."""
        self._woken.set()

    def lag_bytes(self) -> int:
        """Nothing."""
        return 0

    def close(self) -> None:
        """Nothing."""
