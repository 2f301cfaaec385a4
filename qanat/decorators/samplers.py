"""`probSampler(p)`, `intervalSampler(n)`, `reservoirSampler(k)`: some of the events.

    coll : autoCollectorSource | [ file("/data/all/", "x-"), probSampler(0.01) file("/data/sample/", "x-") ] ;

A hash of stream and position decides, not chance: an event that comes again, after a crash, is taken or left as before, and the
same sampler on another node takes the same events. So `intervalSampler(n)` takes one of `n` on average and at irregular
distances, where Flume OG counted.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from qanat import columns, ops
from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import sampling

SAMPLED_OUT = "events_sampled_out"


class ProbConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `probSampler(...)`."""

    p: Annotated[float, msgspec.Meta(ge=0, le=1)]  # how probable it is that an event goes on


class IntervalConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `intervalSampler(...)`."""

    n: Annotated[int, msgspec.Meta(ge=1)]  # one of so many goes on


class ReservoirConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `reservoirSampler(...)`."""

    k: Annotated[int, msgspec.Meta(ge=1)]  # at most so many of a batch go on


class _Sampler(Decorator):
    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config

    def _kept(self, batch: Batch, mask: pa.Array) -> Batch:
        result = columns.kept(batch, mask)
        if result.count < batch.count:
            self.context.count(SAMPLED_OUT, batch.count - result.count)
        return result


class ProbSampler(_Sampler):
    """Each event with the same probability."""

    name: ClassVar[str] = "probSampler"
    Config: ClassVar[type[msgspec.Struct]] = ProbConfig

    def apply(self, batch: Batch) -> Batch:
        return self._kept(batch, _among(sampling.hashes(batch, "probability"), self._config.p))


class IntervalSampler(_Sampler):
    """One of n."""

    name: ClassVar[str] = "intervalSampler"
    Config: ClassVar[type[msgspec.Struct]] = IntervalConfig

    def apply(self, batch: Batch) -> Batch:
        return self._kept(batch, _among(sampling.hashes(batch, "interval"), 1 / self._config.n))


class ReservoirSampler(_Sampler):
    """At most k of each batch, each event of it with the same probability. They stay in order. Where batches begin and end
    depends on how fast events come; so does, other than with the other samplers, which events go on."""

    name: ClassVar[str] = "reservoirSampler"
    Config: ClassVar[type[msgspec.Struct]] = ReservoirConfig

    def apply(self, batch: Batch) -> Batch:
        if batch.count <= self._config.k:
            return batch
        hashes = sampling.hashes(batch, "reservoir")
        chosen = pc.select_k_unstable(hashes, k=self._config.k, sort_keys=[("", "ascending")])
        return self._kept(batch, ops.less_equal(hashes, hashes[chosen[-1].as_py()]))


def _among(hashes: pa.Array, share: float) -> pa.Array:
    if share >= 1:
        return ops.repeated(True, len(hashes))
    return ops.less(hashes, pa.scalar(int(share * 2**64), pa.uint64()))
