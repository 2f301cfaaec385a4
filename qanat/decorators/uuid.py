"""`uuid()`: an attribute that is another for every event, and always the same for the same event.

    coll : autoCollectorSource | uuid("id") file("/data/", "x-", format="json") ;

A UUID of version 8 (RFC 9562), made of the stream and the position: whoever finds it in two places has found the same event.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops
from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows, sampling, shared

_HEX = pa.array([f"{byte:02x}" for byte in range(256)], pa.string())
_BYTES = (56, 48, 40, 32, 24, 16, 8, 0)  # shifts: the most significant first


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `uuid(...)`."""

    attribute: str = "uuid"  # its name


class Uuid(Decorator):
    """See the module."""

    name: ClassVar[str] = "uuid"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._attribute = shared.checked_name(config.attribute)

    def apply(self, batch: Batch) -> Batch:
        high, low = sampling.hashes(batch, "uuid high"), sampling.hashes(batch, "uuid low")
        high = _with_bits(high, 0xFFFFFFFFFFFF0FFF, 0x8000)  # the version
        low = _with_bits(low, 0x3FFFFFFFFFFFFFFF, 0x8000000000000000)  # the variant
        words = [*_words(high), *_words(low)]
        for at in (10, 8, 6, 4):
            words.insert(at, "-")
        return rows.with_columns(batch, {self._attribute: ops.join(*words, "")})


def _with_bits(value: pa.Array, mask: int, bits: int) -> pa.Array:
    masked = pc.bit_wise_and(value, pa.scalar(mask, pa.uint64()))
    return pc.bit_wise_or(masked, pa.scalar(bits, pa.uint64()))


def _words(value: pa.Array) -> list[pa.Array | pa.Scalar]:
    """Its bytes, each as two hexadecimal digits."""
    found = []
    for shift in _BYTES:
        byte = pc.bit_wise_and(
            pc.shift_right(value, pa.scalar(shift, pa.uint64())), pa.scalar(255, pa.uint64())
        )
        found.append(pc.take(_HEX, byte))
    return found
