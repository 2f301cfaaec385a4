"""Columns by bucket: which rows go to which file, found with vector operations.

A bucket's path is computed once for each distinct combination of the values that decide it, not for each event.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from collector.files.buckets import Bucket, Buckets
from collector.files.rows import as_text, timestamps_ns
from qanat import ops
from qanat.batch import Batch
from qanat.columns import TIMESTAMP

_TIME = "\0time"  # no attribute has this name


def partition(buckets: Buckets, batch: Batch) -> Iterator[tuple[Bucket, pa.RecordBatch]]:
    """The rows of a COLUMNS batch by bucket, each in their order. Zero-copy when all share one."""
    rows = batch.payload
    assert not isinstance(rows, bytes)
    keys = _keys(buckets, rows)
    if not keys:
        yield buckets.bucket(batch.attributes, batch.timestamp_ns), rows
        return
    codes, values = _combined(keys)
    paths = [_bucket(buckets, batch, keys, value) for value in values]
    numbers = {bucket: number for number, bucket in enumerate(dict.fromkeys(paths))}
    if len(numbers) == 1:
        yield paths[0], rows
        return
    of_rows = pc.take(pa.array([numbers[path] for path in paths], pa.int32()), codes)
    order = pc.sort_indices(of_rows)  # stable: rows of a bucket stay in order
    by_bucket = rows.take(order)
    at = 0
    for entry in pc.value_counts(pc.take(of_rows, order)):
        bucket, count = list(numbers)[entry["values"].as_py()], entry["counts"].as_py()
        yield bucket, by_bucket.slice(at, count)
        at += count


def _keys(buckets: Buckets, rows: pa.RecordBatch) -> dict[str, pa.DictionaryArray]:
    """What decides the bucket and differs between rows, by name; `TIMESTAMP` as ns at the resolution needed."""
    keys = {
        name: pc.dictionary_encode(as_text(rows.column(name)), null_encoding="encode")
        for name in sorted(buckets.attributes)
        if name in rows.schema.names
    }
    step = buckets.resolution_ns
    ns = timestamps_ns(rows.column(TIMESTAMP)) if TIMESTAMP in rows.schema.names else None
    if step is not None and ns is not None:
        # Floor division: Arrow truncates towards zero, so times before 1970 need the remainder made positive.
        remainder = pc.subtract(ns, ops.multiply(ops.divide(ns, step), step))
        remainder = pc.if_else(ops.less(remainder, 0), ops.add(remainder, step), remainder)
        keys[_TIME] = pc.dictionary_encode(pc.subtract(ns, remainder), null_encoding="encode")
    return keys


def _combined(keys: dict[str, pa.DictionaryArray]) -> tuple[pa.Array, list[list[int]]]:
    """For each row the number of its combination of values, and for each combination its indices into `keys`."""
    codes: pa.Array | None = None
    values: list[list[int]] = [[]]
    for key in keys.values():
        indices, size = key.indices.cast(pa.int64()), len(key.dictionary)
        joint = indices if codes is None else pc.add(ops.multiply(codes.cast(pa.int64()), size), indices)
        encoded = pc.dictionary_encode(joint)
        values = [[*values[code // size], code % size] for code in encoded.dictionary.to_pylist()]
        codes = encoded.indices
    return codes, values


def _bucket(
    buckets: Buckets, batch: Batch, keys: dict[str, pa.DictionaryArray], indices: list[int]
) -> Bucket:
    attributes, timestamp_ns = dict(batch.attributes), batch.timestamp_ns
    for (name, key), index in zip(keys.items(), indices, strict=True):
        value = key.dictionary[index].as_py()
        if value is None:  # this event has none of its own: the batch's holds
            continue
        if name == _TIME:
            timestamp_ns = value
        else:
            attributes[name] = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
    return buckets.bucket(attributes, timestamp_ns)
