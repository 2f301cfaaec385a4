"""`seq()`: 0, 1, 2, ..., as of Flume NG: to try a flow, and to see whether it loses or doubles anything.

Guarantee: each number is stored exactly once at level E2E; a restarted agent goes on where storage ends.

    numbers : seq(1000000, rate=5000) | agentE2EChain("c1", "c2") ;
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from agent.generated import Generated
from qanat.component import Context


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    rate: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # events a second; 0: as fast as they are taken


class SeqConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `seq(...)` accepts."""

    count: Annotated[int, msgspec.Meta(ge=0)] = 0  # how many; 0: no end


class Seq(Generated):
    """The body is the number."""

    name: ClassVar[str] = "seq"
    Config: ClassVar[type[msgspec.Struct]] = SeqConfig

    def __init__(self, config: SeqConfig, context: Context) -> None:
        super().__init__(config, context, config.count, config.rate)

    def lines(self, start: int, end: int) -> bytes:
        return "\n".join([*map(str, range(start, end)), ""]).encode()

    def size_bytes(self) -> int:
        return 20  # of the largest number there can be, with its line end
