"""Numbered lines, and the ledger over them."""

from __future__ import annotations

from pathlib import Path

from qanat.testing.cluster import Cluster, ledger, published, stored_bytes, temporary

PATTERN = r"stream=(?P<stream>[\w-]+) seq=(?P<seq>\d+)"


def tail(cluster: Cluster, what: str = "*.log") -> str:
    """The source over the cluster's `in` directory."""
    return f'tail("{cluster.directory}/in/{what}")'


def numbered(first: int, last: int, stream: str = "s") -> bytes:
    """Lines `first` to `last - 1` of a stream."""
    return b"".join(b"stream=%b seq=%010d some words\n" % (stream.encode(), n) for n in range(first, last))


def append(path: Path, data: bytes) -> int:
    """Append to a log file as an application does; gives the number of bytes."""
    with path.open("ab") as file:
        file.write(data)
    return len(data)


def assert_exactly_once(root: Path, lines: int, streams: int = 1) -> None:
    """Every stream has 0 to n once and in order, and together they are `lines`."""
    report = ledger(root, PATTERN, first=0)
    counted = (report.events, report.streams, report.lost, report.doubled, report.reordered)
    assert counted == (lines, streams, 0, 0, 0), f"{report} {[p.name for p in published(root)][:20]}"


def assert_repeats_only(root: Path, lines: int, streams: int, repeats_max: int) -> None:
    """Nothing is lost, and no more is doubled than what clients sent again because nobody had answered."""
    report = ledger(root, PATTERN, first=0)
    assert (report.streams, report.lost) == (streams, 0), report
    assert report.events - lines == report.doubled <= repeats_max, report


def assert_drains_clean(cluster: Cluster, lines: int, streams: int = 1) -> None:
    """After SIGTERM everything is stored exactly once, under final names."""
    cluster.stop()
    assert_exactly_once(cluster.out, lines, streams)
    assert stored_bytes(cluster.out) > 0
    assert not temporary(cluster.out)
