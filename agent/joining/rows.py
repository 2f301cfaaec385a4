"""Runs of consecutive rows as one, with vector operations.

A row is one line at first, then a run of lines. `first` and `last` are the numbers of its lines, `open`: more may come.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops


@dataclass(frozen=True, slots=True)
class Rows:
    """`body` binary; `first`, `last` int64; `is_open` whether the last row may go on. `own`: columns of which a run has the value
    of its first row."""

    body: pa.Array
    first: pa.Array
    last: pa.Array
    own: Mapping[str, pa.Array] = field(default_factory=dict)
    is_open: bool = False

    def __len__(self) -> int:
        return len(self.body)

    def where(self, mask: pa.Array) -> Rows:
        """Those of them."""
        own = {name: column.filter(mask) for name, column in self.own.items()}
        return Rows(self.body.filter(mask), self.first.filter(mask), self.last.filter(mask), own)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a run may be made of."""

    rows: int
    size_bytes: int


def joined(rows: Rows, begins: pa.Array, separator: bytes, limit: Limit) -> tuple[Rows, int]:
    """A run begins at each row for which `begins` is true; how many were cut for the limit's sake comes with them."""
    count = len(rows)
    starts = pc.indices_nonzero(begins).cast(pa.int64())
    if len(starts) == 0 or starts[0].as_py() != 0:
        starts = pa.concat_arrays([pa.array([0], pa.int64()), starts])
    starts, cut = _within(rows.body, starts, len(separator), limit)
    if len(starts) == count:
        return rows, cut
    stops = pa.concat_arrays([starts.slice(1), pa.array([count], pa.int64())])
    offsets = pa.concat_arrays([starts, pa.array([count], pa.int64())]).cast(pa.int32())
    return (
        replace(
            rows,
            body=pc.binary_join(pa.ListArray.from_arrays(offsets, rows.body), separator),
            first=rows.first.take(starts),
            last=rows.last.take(ops.subtract(stops, 1)),
            own={name: column.take(starts) for name, column in rows.own.items()},
        ),
        cut,
    )


def stacked(parts: Sequence[Rows]) -> Rows:
    """All rows, in the order of their first lines. Whether any is open is lost."""
    parts = [part for part in parts if len(part)] or list(parts[:1])
    if len(parts) == 1:
        return replace(parts[0], is_open=False)
    first = pa.concat_arrays([part.first for part in parts])
    order = pc.sort_indices(first)
    names = parts[0].own
    return Rows(
        pa.concat_arrays([part.body for part in parts]).take(order),
        first.take(order),
        pa.concat_arrays([part.last for part in parts]).take(order),
        {name: pa.concat_arrays([part.own[name] for part in parts]).take(order) for name in names},
    )


def _within(bodies: pa.Array, starts: pa.Array, separator_bytes: int, limit: Limit) -> tuple[pa.Array, int]:
    """The beginnings of runs, with those added that keep each within the limit."""
    count = len(bodies)
    stops = pa.concat_arrays([starts.slice(1), pa.array([count], pa.int64())])
    sizes = pc.add(pc.binary_length(bodies).cast(pa.int64()), separator_bytes)
    before = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(sizes)])
    run_bytes = pc.subtract(before.take(stops), before.take(starts))
    run_rows = pc.subtract(stops, starts)
    if pc.max(run_rows).as_py() <= limit.rows and pc.max(run_bytes).as_py() <= limit.size_bytes:
        return starts, 0
    added = _cut(starts.to_pylist(), count, sizes.to_pylist(), limit)
    return pa.array(added, pa.int64()), len(added) - len(starts)


def _cut(starts: list[int], count: int, sizes: list[int], limit: Limit) -> list[int]:
    """One Python step for each row: only for blocks with a run that is too long."""
    found = []
    for start, stop in itertools.pairwise([*starts, count]):
        found.append(start)
        run_bytes, began = 0, start
        for row in range(start, stop):
            if row > began and (run_bytes + sizes[row] > limit.size_bytes or row - began >= limit.rows):
                found.append(row)
                run_bytes, began = 0, row
            run_bytes += sizes[row]
    return found
