"""Decorators of Flume OG that have nothing to do here, accepted so that its configurations run as they are.

`batch`, `unbatch`, `gzip`, `gunzip`: the wire batches and can compress by itself. `nullDeco`, `lazyOpen`, `insistentOpen`,
`insistentAppend`, `stubbornAppend`: sinks are opened and tried again as long as it takes. `ackInjector`, `ackChecker`: delivery
knows by positions what arrived. `inmem`: a `memoryChannel` keeps events in memory.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.decorator import Decorator


class NoConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class BatchConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `batch(...)`, which change nothing."""

    n: int = 1  # events
    maxlatency: int = 0  # milliseconds


class BackoffConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of Flume OG, which change nothing."""

    max: int = 0  # milliseconds of one pause
    init: int = 0  # milliseconds of the first pause
    cumulativeMax: int = 0  # noqa: N815 - Flume OG's name. Milliseconds of all pauses


class Nothing(Decorator):
    """Batches pass as they are."""

    name: ClassVar[str] = "nullDeco"
    Config: ClassVar[type[msgspec.Struct]] = NoConfig
    takes_lines = True

    def apply(self, batch: Batch) -> Batch:
        return batch


def _accepted(called: str, config: Any = NoConfig) -> type[Nothing]:
    return type(
        called,
        (Nothing,),
        {"name": called, "Config": config, "__doc__": Nothing.__doc__, "__module__": __name__},
    )


BatchEvents = _accepted("batch", BatchConfig)
Unbatch = _accepted("unbatch")
Gzip = _accepted("gzip")
Gunzip = _accepted("gunzip")
LazyOpen = _accepted("lazyOpen")
InsistentOpen = _accepted("insistentOpen", BackoffConfig)
InsistentAppend = _accepted("insistentAppend", BackoffConfig)
StubbornAppend = _accepted("stubbornAppend")
AckInjector = _accepted("ackInjector")
AckChecker = _accepted("ackChecker")
Inmem = _accepted("inmem")
