"""Batches in parts of so many events. [pure]"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa

from qanat.batch import Batch
from qanat.columns import POSITION, slice_positions, to_columns


def cut_events(batch: Batch, first: int, others: int) -> Iterator[Batch]:
    """The events of a batch in their order: `first` of them, then `others` at a time, then the rest. All of LINES
    form, or slices of the same columns, which cover the positions of the whole."""
    cuts = [0, *range(first, batch.count, others), batch.count]
    rows = to_columns(batch).payload
    assert isinstance(rows, pa.RecordBatch)
    if not isinstance(batch.payload, bytes):
        for begin, end in pairwise(cuts):
            yield replace(batch, payload=rows.slice(begin, end - begin), count=end - begin)
        return
    inner = [rows.column(POSITION)[at].as_py() for at in cuts[1:-1]]
    for start, stop in pairwise([batch.start, *inner, batch.end]):
        yield slice_positions(batch, start, stop)
