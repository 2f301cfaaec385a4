"""Chance that decides alike whenever the same event comes: a hash of its stream and position. Vector operations only."""

from __future__ import annotations

import functools
import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from qanat.batch import Batch
from qanat.columns import POSITION, kept
from qanat.decorators.common import rows

_U64 = pa.uint64()


def hashes(batch: Batch, salt: str) -> pa.Array:
    """A uint64 for each event, even over all values. Another `salt` gives independent ones."""
    digest = hashlib.blake2b(f"{salt}\0{batch.stream}".encode(errors="surrogatepass"), digest_size=8).digest()
    return mixed(rows.record(batch).column(POSITION), int.from_bytes(digest, "little"))


def mixed(numbers: pa.Array, seed: int) -> pa.Array:
    """splitmix64's finaliser (Steele, Lea, Flood 2014) of `numbers` and a seed; Arrow's arithmetic wraps around."""
    value = pc.bit_wise_xor(numbers, _scalar(seed))
    value = pc.add(value, _scalar(0x9E3779B97F4A7C15))
    value = pc.multiply(_folded(value, 30), _scalar(0xBF58476D1CE4E5B9))
    value = pc.multiply(_folded(value, 27), _scalar(0x94D049BB133111EB))
    return _folded(value, 31)


def _folded(value: pa.Array, bits: int) -> pa.Array:
    return pc.bit_wise_xor(value, pc.shift_right(value, _scalar(bits)))


@functools.lru_cache(maxsize=256)
def _scalar(value: int) -> pa.Scalar:
    return pa.scalar(value, _U64)


def left_out(batch: Batch, salt: str, n: int) -> Batch:
    """Without one of `n` events."""
    return kept(batch, pc.greater_equal(hashes(batch, salt), _scalar(2**64 // n)))
