"""A set of 64-bit numbers as ranges, filled with Arrow arrays: memory grows with gaps, not with numbers. [pure]"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Ranges that may wait before they are merged: 16 bytes each; merging sorts, so rarely is cheaper than often.
_PENDING_RANGES_MAX = 1 << 20


class RangeSet:
    """Distinct numbers, added in any order and as often as one likes."""

    def __init__(self) -> None:
        # The range that is being extended, so that a run of contiguous blocks stays one range.
        self._first: int | None = None
        self._last = 0
        self._pending: list[tuple[Any, Any]] = []
        self._pending_ranges = 0
        self._merge_at = _PENDING_RANGES_MAX

    def add_range(self, first: int, last: int) -> None:
        """Add all of `[first, last]`."""
        if self._first is not None and first == self._last + 1:
            self._last = last
            return
        self._close()
        self._first, self._last = first, last

    def add(self, numbers: Any) -> None:
        """Add a non-empty ascending int64 array; equal neighbours are allowed."""
        starts, ends = _runs(numbers, numbers)
        self._append(starts, ends)

    def ranges(self) -> tuple[Any, Any]:
        """Firsts and lasts (int64 arrays) of the ranges, ascending and never adjacent."""
        self._close()
        self._merge()
        if not self._pending:
            return _array([]), _array([])
        return self._pending[0]

    def _close(self) -> None:
        if self._first is not None:
            starts, ends = _array([self._first]), _array([self._last])
            self._first = None
            self._append(starts, ends)

    def _append(self, starts: Any, ends: Any) -> None:
        self._pending.append((starts, ends))
        self._pending_ranges += len(starts)
        if self._pending_ranges >= self._merge_at:
            self._merge()
            self._merge_at = max(_PENDING_RANGES_MAX, 2 * self._pending_ranges)

    def _merge(self) -> None:
        if not self._pending:
            return
        starts = pa.concat_arrays([starts for starts, _ in self._pending])
        ends = pa.concat_arrays([ends for _, ends in self._pending])
        order = pc.sort_indices(starts)
        merged = _runs(starts.take(order), pc.cumulative_max(ends.take(order)))
        self._pending = [merged]
        self._pending_ranges = len(merged[0])


def _array(numbers: list[int]) -> Any:
    return pa.array(numbers, pa.int64())


def _runs(starts: Any, ends: Any) -> tuple[Any, Any]:
    """Join ranges that touch or overlap; both arrays ascend."""
    gap = pc.greater(pc.subtract(starts[1:], ends[:-1]), 1)
    return (
        pa.concat_arrays([starts[:1], starts[1:].filter(gap)]),
        pa.concat_arrays([ends[:-1].filter(gap), ends[-1:]]),
    )


def size(starts: Any, ends: Any) -> int:
    """How many numbers these ranges hold."""
    return int(pc.sum(pc.subtract(ends, starts)).as_py() or 0) + len(starts)


def clip(starts: Any, ends: Any, first: int, last: int) -> tuple[Any, Any]:
    """What of the ranges is within `[first, last]`."""
    touches = pc.and_(pc.less_equal(starts, last), pc.greater_equal(ends, first))
    starts, ends = starts.filter(touches), ends.filter(touches)
    return pc.max_element_wise(starts, pa.scalar(first)), pc.min_element_wise(ends, pa.scalar(last))


def gaps(starts: Any, ends: Any, first: int, last: int, limit: int) -> list[tuple[int, int]]:
    """The first `limit` ranges of `[first, last]` that the ranges, which are within it, leave out."""
    if len(starts) == 0:
        return [(first, last)] if first <= last else []
    found = [(first, starts[0].as_py() - 1)]
    head = min(limit, len(starts) - 1)
    found += [(ends[i].as_py() + 1, starts[i + 1].as_py() - 1) for i in range(head)]
    if head == len(starts) - 1:
        found.append((ends[-1].as_py() + 1, last))
    return [(low, high) for low, high in found if low <= high][:limit]
