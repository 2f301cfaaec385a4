"""Types for component configurations: a field says its unit, and the flow language accepts values in that unit.

class Config(msgspec.Struct, frozen=True, kw_only=False, forbid_unknown_fields=True):
    path: str
    roll: Seconds = 30.0        # roll=10m, or roll=60000: a bare number is milliseconds, as in Flume OG
    roll_size: Bytes = 128 * MIB    # roll_size=64MiB, or plain bytes
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0, extra={"unit": "s"})]
Bytes = Annotated[int, msgspec.Meta(ge=0, extra={"unit": "bytes"})]
