"""`qanat verify`: the ledger over stored files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:
    from qanat.ledger.verify import Report

# Streams with faults that are shown one by one; the sums cover all of them.
_STREAMS_SHOWN = 20


@click.command(name="verify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR...")
@click.option("--pattern", required=True, metavar="REGEX", help=r"Where the number is, such as 'seq=(\d+)'.")
@click.option(
    "--stream-pattern", metavar="REGEX", help="Where the stream's name is, anywhere on the same line."
)
@click.option("--first", type=int, metavar="N", help="The first number of every stream.")
@click.option("--last", type=int, metavar="N", help="The last number of every stream.")
@click.option("--expect", type=click.IntRange(min=0), metavar="N", help="How many numbers every stream has.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--progress/--no-progress", default=None, help="Default: on a terminal.")
@click.pass_context
def command(
    context: click.Context,
    paths: tuple[Path, ...],
    pattern: str,
    stream_pattern: str | None,
    first: int | None,
    last: int | None,
    expect: int | None,
    as_json: bool,
    progress: bool | None,
) -> None:
    """Count what is lost, doubled or out of order in stored files.

    Events are expected to carry the numbers of a sequence. Everything below each DIR that is not hidden is read: plain
    text, json and csv line by line (compressed as .gz, .zst, .bz2, .lz4, .snappy), and the column `body` of .parquet,
    .orc and .avro.

    \b
      qanat verify /data/web --pattern 'seq=(\\d+)'
      qanat verify /data --pattern 'id=(?P<stream>\\w+)/(?P<seq>\\d+)' --first 0 --expect 1000000 --json

    The number is group 1 of the pattern's first match on a line, or its group named `seq`. If the pattern has a group
    named `stream`, or --stream-pattern finds one, each stream has a numbering of its own. A pattern should not match
    line ends (write [ \\t] rather than \\s next to where a line may end).

    Each stream is expected to have every number from its first to its last exactly once:

    \b
      lost        numbers of that range that are nowhere
      doubled     occurrences beyond the first
      reordered   events that come after a larger number of their stream in the same sequence of files
      unexpected  numbers outside of what --first, --last and --expect allow
      unmatched   lines without a match; only reported

    Without --first and --last the smallest and largest number seen stand for them: WHAT IS MISSING BEFORE THE FIRST OR
    AFTER THE LAST CAN'T BE SEEN THEN. --expect alone finds it too: it compares how many there are. A stream of which
    nothing at all was stored is not seen either; compare `streams`.

    A sequence of files is what one sink wrote into one directory (names that differ in -TIME-NUMBER at the end only),
    in the order of these names; every other file is one by itself. Order between sequences is not judged: after a
    failover a stream goes on in another collector's files, and may come back.

    Exit codes: 0 all is well; 1 something is lost, doubled, reordered or unexpected, no event was found at all, or a
    file is damaged; 2 wrong usage; 3 files changed or vanished meanwhile.
    """
    from qanat.ledger.account import Expectation
    from qanat.ledger.extract import Extractor
    from qanat.ledger.verify import verify

    try:
        extractor = Extractor(pattern, stream_pattern)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--pattern / --stream-pattern") from error
    if first is not None and expect is not None and last is None:
        last = first + expect - 1
    elif last is not None and expect is not None and first is None:
        first = last - expect + 1
    with _progress(sys.stderr.isatty() if progress is None else progress) as advance:
        report = verify(paths, extractor, Expectation(first, last, expect), advance)
    click.echo(_json(report) if as_json else _text(report))
    if not report.clean:
        context.exit(1)


@contextlib.contextmanager
def _progress(shown: bool) -> Iterator[Callable[[int, int], None]]:
    if not shown:
        yield lambda done_bytes, total_bytes: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verify", total=None)
        yield lambda done_bytes, total_bytes: bar.update(task, completed=done_bytes, total=total_bytes)


def _json(report: Report) -> str:
    document = msgspec.to_builtins(report)
    document["faulty"] = document["faulty"][:_STREAMS_SHOWN]
    return msgspec.json.encode(document).decode()


def _text(report: Report) -> str:
    rate = f", {report.events / report.seconds:,.0f} events/s" if report.seconds else ""
    numbers = f", numbers {report.first} to {report.last}" if report.events else ""
    lines = [
        f"{report.events:,} events of {report.streams:,} stream(s){numbers}",
        f"{report.files:,} files, {report.bytes:,} bytes, read in {report.seconds} s{rate}",
        f"lost {report.lost:,}, doubled {report.doubled:,}, reordered {report.reordered:,}, "
        f"unexpected {report.unexpected:,}, unmatched lines {report.unmatched:,}",
    ]
    for verdict in report.faulty[:_STREAMS_SHOWN]:
        lost = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in verdict.lost_ranges)
        lines.append(
            f"  stream {verdict.stream!r} ({verdict.first} to {verdict.last}): lost {verdict.lost:,}"
            f"{f' ({lost}, ...)' if lost else ''}, doubled {verdict.doubled:,}, "
            f"reordered {verdict.reordered:,}, unexpected {verdict.unexpected:,}"
        )
    if len(report.faulty) > _STREAMS_SHOWN:
        lines.append(f"  and {len(report.faulty) - _STREAMS_SHOWN:,} more streams with faults")
    if report.events == 0:
        lines.append("no event was found: do the directories and the pattern fit?")
    return "\n".join(lines)
