"""Which partitions of a topic an agent reads: those that its flow names, or its share. [pure]"""

from __future__ import annotations

from collections.abc import Callable

# Kafka's clusters hold some hundred thousand partitions altogether.
PARTITION_MAX = 1_000_000


def chosen(partitions: str, member: str) -> Callable[[int], bool]:
    """Whether a partition is one of `partitions` (`0-3,7`; empty: all) and of the share `member` (`2/3`: the second third).
    Raises ValueError with a sentence that begins in the middle."""
    ranges = [_range(part.strip()) for part in partitions.split(",")] if partitions.strip() else []
    number, of = _member(member)
    return lambda partition: (
        partition % of == number and (not ranges or any(first <= partition <= last for first, last in ranges))
    )


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise ValueError(f"{text!r} is neither a number of a partition nor a range of them, as 0-3")
    begin, end = int(first), int(last) if dash else int(first)
    if not begin <= end <= PARTITION_MAX:
        raise ValueError(f"{text!r} is no range: it must go up, to {PARTITION_MAX} at most")
    return begin, end


def _member(text: str) -> tuple[int, int]:
    if not text.strip():
        return 0, 1
    number, slash, of = text.partition("/")
    if not slash or not number.isdecimal() or not of.isdecimal() or not 1 <= int(number) <= int(of):
        raise ValueError(f"{text!r} is no share: 2/3 is the second of three agents")
    return int(number) - 1, int(of)
