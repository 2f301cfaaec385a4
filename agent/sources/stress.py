"""`stress(size, count)`: events of one size and content, as of Flume NG: the most that a flow can take.

Guarantee: each event is stored exactly once at level E2E; a restarted agent goes on where storage ends.

    load : stress(500, 1000000, rate=20000) | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from agent.generated import Generated
from qanat import limits
from qanat.component import Context


class StressConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `stress(...)` accepts."""

    size: Annotated[int, msgspec.Meta(ge=0, le=limits.EVENT_BYTES_MAX)] = 500  # bytes of a body
    count: Annotated[int, msgspec.Meta(ge=0)] = 0  # how many events; 0: no end
    rate: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # events a second; 0: as fast as they are taken


class Stress(Generated):
    """Bodies of the letter x."""

    name: ClassVar[str] = "stress"
    Config: ClassVar[type[msgspec.Struct]] = StressConfig

    def __init__(self, config: StressConfig, context: Context) -> None:
        super().__init__(config, context, config.count, config.rate)
        self._line = b"x" * config.size + b"\n"

    def lines(self, start: int, end: int) -> bytes:
        return self._line * (end - start)

    def size_bytes(self) -> int:
        return len(self._line)
