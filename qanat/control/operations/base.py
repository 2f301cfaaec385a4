"""What requests and replies have in common. [pure]"""

from __future__ import annotations

from typing import Annotated

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of an operation."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What an operation gives."""
