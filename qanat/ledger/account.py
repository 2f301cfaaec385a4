"""What was seen of each stream, and what that means. [pure]"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qanat.ledger import ranges
from qanat.ledger.ranges import RangeSet

# Examples of lost ranges that a verdict carries: enough to see where to look.
_LOST_RANGES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Expectation:
    """What each stream should hold. `events` alone leaves open where its numbers begin."""

    first: int | None = None
    last: int | None = None
    events: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One stream. `unexpected`: distinct numbers outside of what was said to be expected."""

    stream: str
    events: int
    first: int | None
    last: int | None
    lost: int
    doubled: int
    reordered: int
    unexpected: int
    lost_ranges: list[tuple[int, int]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.reordered or self.unexpected)


class StreamAccount:
    """The numbers of one stream, over all files."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._seen = RangeSet()
        self._events = 0
        self._reordered = 0
        self._highest: int | None = None
        self._sequence = 0

    def add(self, numbers: Any, sequence: int) -> None:
        """Account for a non-empty int64 array of numbers, in the order in which they are stored.

        The order in one file `sequence` has nothing to do with that in another.
        """
        if sequence != self._sequence:
            self._sequence, self._highest = sequence, None
        self._events += len(numbers)
        first, last = numbers[0].as_py(), numbers[-1].as_py()
        steps = pc.min_max(pc.subtract(numbers[1:], numbers[:-1])).as_py()
        ascending = len(numbers) == 1 or steps["min"] > 0
        if ascending and (self._highest is None or first >= self._highest):
            self._highest = last
        else:
            self._count_reordered(numbers)
        if ascending and last - first == len(numbers) - 1:
            self._seen.add_range(first, last)
        else:
            self._seen.add(numbers if ascending else numbers.sort())

    def _count_reordered(self, numbers: Any) -> None:
        highest = pc.cumulative_max(numbers, start=self._highest)
        self._reordered += pc.sum(pc.less(numbers, highest)).as_py()
        self._highest = highest[-1].as_py()

    def verdict(self, expected: Expectation) -> Verdict:
        """Compare with what is expected; without a first or last, the smallest and largest seen stand for them."""
        starts, ends = self._seen.ranges()
        distinct = ranges.size(starts, ends)
        seen_first = starts[0].as_py() if len(starts) else None
        seen_last = ends[-1].as_py() if len(ends) else None
        first = seen_first if expected.first is None else expected.first
        last = seen_last if expected.last is None else expected.last
        lost, within, lost_ranges = 0, 0, []
        if first is not None and last is not None and first <= last:
            inner = ranges.clip(starts, ends, first, last)
            within = ranges.size(*inner)
            lost = last - first + 1 - within
            lost_ranges = ranges.gaps(*inner, first, last, _LOST_RANGES_SHOWN)
        unexpected = distinct - within
        if expected.events is not None:
            lost = max(lost, expected.events - within)
            unexpected = max(unexpected, distinct - expected.events)
        return Verdict(
            stream=self._stream,
            events=self._events,
            first=seen_first,
            last=seen_last,
            lost=lost,
            doubled=self._events - distinct,
            reordered=self._reordered,
            unexpected=unexpected,
            lost_ranges=lost_ranges,
        )


class Accounts:
    """All streams."""

    def __init__(self) -> None:
        self._streams: dict[str, StreamAccount] = {}
        self._sequence = 0

    def begin_sequence(self) -> None:
        """What is added from now on belongs to another file sequence."""
        self._sequence += 1

    def add(self, numbers: Any, streams: Any | None) -> None:
        """Numbers (int64) and, unless there is only one unnamed, the stream (string) of each."""
        if len(numbers) == 0:
            return
        if streams is None:
            self._account("").add(numbers, self._sequence)
            return
        encoded = streams.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        # A stable sort: the order within a stream is what is judged.
        numbers = numbers.take(pc.array_sort_indices(encoded.indices)) if len(names) > 1 else numbers
        counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(encoded.indices).to_pylist()}
        offset = 0
        for index, name in enumerate(names):
            self._account(name).add(numbers[offset : offset + counts[index]], self._sequence)
            offset += counts[index]

    def _account(self, stream: str) -> StreamAccount:
        account = self._streams.get(stream)
        if account is None:
            account = self._streams[stream] = StreamAccount(stream)
        return account

    def verdicts(self, expected: Expectation) -> list[Verdict]:
        """One for each stream, by name; with nothing seen at all, one for the unnamed stream."""
        accounts = self._streams or {"": StreamAccount("")}
        return [accounts[stream].verdict(expected) for stream in sorted(accounts)]


def numbers_of(texts: list[bytes]) -> Any:
    """Decimal digits to an int64 array. Raises ValueError with the first that is no number below 2^62."""
    try:
        numbers = pa.array(texts, pa.string()).cast(pa.int64())
    except pa.ArrowInvalid as error:
        bad = next((text for text in texts if not _is_number(text)), b"")
        raise ValueError(f"{bad!r} is not a number within 64 bits") from error
    bounds = pc.min_max(numbers).as_py()
    if len(texts) and not (bounds["min"] >= -(1 << 62) and bounds["max"] < 1 << 62):
        raise ValueError(f"{max(abs(bounds['min']), bounds['max'])} is not below 2^62")
    return numbers


def _is_number(text: bytes) -> bool:
    try:
        return -(1 << 63) <= int(text) < 1 << 63
    except ValueError:
        return False
