"""`delay`, `flakeyAppend`, `intervalFlakeyAppend`, `intervalDroppyAppend`: trouble on purpose, for tests.

    coll : autoCollectorSource | flakeyAppend(0.01) file("/data/", "x-") ;

Nothing is lost by `delay` and the flakey ones: what they refuse comes again.
"""

from __future__ import annotations

import random
from typing import Annotated, Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.config import Seconds
from qanat.decorator import Decorator
from qanat.errors import RetryableError

# What a refused batch waits for its next attempt on an agent: soon, as nothing is really in the way.
RETRY_S = 0.05


class DelayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `delay(...)`."""

    time: Seconds  # after each batch, until the next is read


class FlakeyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `flakeyAppend(...)`."""

    p: Annotated[float, msgspec.Meta(ge=0, lt=1)]  # how probable it is that a batch is refused
    seed: int | None = None  # for refusals that can be repeated


class IntervalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of the interval ones."""

    n: Annotated[int, msgspec.Meta(ge=2)]  # one of so many


class Delay(Decorator):
    """So long between two batches."""

    name: ClassVar[str] = "delay"
    Config: ClassVar[type[msgspec.Struct]] = DelayConfig
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._time_s = config.time
        self._until_s = 0.0

    def apply(self, batch: Batch) -> Batch:
        self._until_s = self.context.clock.monotonic_s() + self._time_s
        return batch

    def pause_s(self) -> float:
        return self._until_s - self.context.clock.monotonic_s()


class FlakeyAppend(Decorator):
    """Refuses batches by chance."""

    name: ClassVar[str] = "flakeyAppend"
    Config: ClassVar[type[msgspec.Struct]] = FlakeyConfig
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._p = config.p
        self._chance = random.Random(config.seed)

    def apply(self, batch: Batch) -> Batch:
        if self._chance.random() < self._p:
            raise _refusal(self.name)
        return batch


class IntervalFlakeyAppend(Decorator):
    """Refuses every n-th batch once."""

    name: ClassVar[str] = "intervalFlakeyAppend"
    Config: ClassVar[type[msgspec.Struct]] = IntervalConfig
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._n = config.n
        self._batches = 0

    def apply(self, batch: Batch) -> Batch:
        self._batches += 1
        if self._batches % self._n == 0:
            raise _refusal(self.name)
        return batch


class IntervalDroppyAppend(Decorator):
    """Drops one of n events, by a hash of stream and position."""

    name: ClassVar[str] = "intervalDroppyAppend"
    Config: ClassVar[type[msgspec.Struct]] = IntervalConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._n = config.n

    def apply(self, batch: Batch) -> Batch:
        from qanat.decorators.common.sampling import left_out

        return left_out(batch, "droppy", self._n)


def _refusal(name: str) -> RetryableError:
    return RetryableError(f"{name} refuses this batch, as it was told to", retry_after_s=RETRY_S)
