"""`qanat wal`: look into the write-ahead log of a `fileChannel`, without changing anything."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from qanat.errors import ConfigError

if TYPE_CHECKING:
    from qanat.channels.wal.survey import Survey

DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")

# Source streams that are shown one by one; --json has all of them.
_STREAMS_SHOWN = 20

# Logs that an error names: as many as fit into a few lines.
_LOGS_SHOWN = 10


@click.group(name="wal", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Look into the write-ahead log of a fileChannel.

    DIR is the log's directory: wal-<logical node> in the channel's `path`, else in the agent's state directory. Given a
    directory above it, they say which logs are there. All commands only read, and work on the log of a running agent as
    well as on a copy.

    \b
      cd /var/lib/qanat/agent-a1
      qanat wal inspect web/channel/wal-web
      qanat wal check web/channel/wal-web
      qanat wal export web/channel/wal-web --from 1000 --to 2000 > events.txt
    """


@command.command()
@DIRECTORY
@AS_JSON
def inspect(directory: Path, as_json: bool) -> None:
    """Show segments, numbers, cursors and source positions.

    Events are numbered; `waiting` is what a cursor's destination has not acknowledged. `durable` is the last known to a
    record, of a running agent a little less than the truth.
    """
    survey = _survey(directory, verify=False)
    click.echo(_json(survey) if as_json else _text(survey))


@command.command()
@DIRECTORY
@AS_JSON
@click.pass_context
def check(context: click.Context, directory: Path, as_json: bool) -> None:
    """Verify the checksum of every record.

    An unfinished record at the end of the last segment is no damage: an agent that runs is writing it, or a crash has cut it
    off, and the source sends it again.

    Exit codes: 0 all is well; 1 something is damaged, and the output says what and where; 2 there is no log.
    """
    survey = _survey(directory, verify=True)
    click.echo(_json(survey) if as_json else _verdict(survey))
    if survey.damages:
        context.exit(1)


@command.command()
@DIRECTORY
@click.option("--from", "first", type=click.IntRange(min=0), default=0, metavar="N", help="The first number.")
@click.option(
    "--to", "last", type=click.IntRange(min=0), metavar="N", help="Up to, and without, this number."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    default="-",
    help="Write to this file instead of stdout.",
)
@click.pass_context
def export(context: click.Context, directory: Path, first: int, last: int | None, output: Path) -> None:
    """Print events, one a line, as they were read.

    \b
    Everything that is still there, also what destinations have acknowledged:
      qanat wal export DIR
    What the cursor of `qanat wal inspect` still has to deliver:
      qanat wal export DIR --from 123456

    What is damaged is left out, with a message to stderr.

    Exit codes: 0 all is well; 1 something is damaged; 2 there is no log, or the output can't be opened; 3 it can't be written.
    """
    if last is not None and last < first:
        raise click.BadParameter(
            f"{last} is before --from {first}; give a number behind it", param_hint="'--to'"
        )
    survey = _survey(directory, verify=False)
    with _opened(output) as file:
        missing = _export(survey, first, last, file)
    if missing:
        click.echo(f"{missing:,} events are damaged and left out; `qanat wal check` says where", err=True)
        context.exit(1)


@contextlib.contextmanager
def _opened(output: Path) -> Iterator[BinaryIO]:
    if str(output) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        file = output.open("wb")
    except OSError as error:
        raise ConfigError(
            f"-o {output}: can't write there: {error.strerror}; name a file in a directory that exists and is yours to write to"
        ) from error
    with file:
        yield file


def _export(survey: Survey, first: int, last: int | None, output: BinaryIO) -> int:
    """How many events are missing."""
    missing = 0
    expected = max(first, survey.oldest)
    for number, count, payload in _events(survey, first, last):
        missing += survey.given(max(expected, survey.reaped), number)
        output.write(payload)
        expected = number + count
    end = survey.number if last is None else min(last, survey.number)
    return missing + survey.given(max(expected, survey.reaped), end)


def _survey(directory: Path, *, verify: bool) -> Survey:
    from qanat.channels.wal.survey import survey

    try:
        found = survey(directory, verify=verify)
    except OSError as error:
        raise ConfigError(f"{directory} can't be read: {error}; name the directory of a log") from error
    if not found.segments:
        raise ConfigError(
            f"{directory} holds no log: there is no segment (*.wal) in it; {_instead(directory)}"
        )
    return found


def _instead(directory: Path) -> str:
    """Which directory to name."""
    below = sorted({str(segment.parent) for segment in directory.glob("**/*.wal")})
    if not below:
        return "name a directory wal-<logical node>"
    more = f", and {len(below) - _LOGS_SHOWN} more" if len(below) > _LOGS_SHOWN else ""
    return f"name one of those below it: {', '.join(below[:_LOGS_SHOWN])}{more}"


def _events(survey: Survey, first: int, last: int | None) -> Iterator[tuple[int, int, bytes]]:
    """Number, count, and lines."""
    from qanat.channels.streams import cut_before

    for batch in survey.batches(first):
        if last is not None and batch.start >= last:
            return
        part = batch if batch.start >= first else cut_before(batch, first)
        if last is not None and part.end > last:
            part = _cut_behind(part, last)
        yield part.start, part.count, _lines(part)


def _cut_behind(batch: Any, end: int) -> Any:
    from qanat import columns

    return columns.slice_positions(batch, batch.start, end)


def _lines(batch: Any) -> bytes:
    if isinstance(batch.payload, bytes):
        return batch.payload
    from qanat import columns

    return bytes(columns.join_bodies(batch.payload))


def _json(survey: Survey) -> str:
    import msgspec

    return msgspec.json.encode(survey.document()).decode()


def _text(survey: Survey) -> str:
    lines = [
        f"log {survey.incarnation}: events {survey.oldest:,} to {survey.number:,} (the last one not included), "
        f"{survey.size_bytes:,} bytes in {len(survey.segments)} segment(s)",
        "",
        f"{'segment':<36}{'first':>16}{'behind last':>16}{'bytes':>14}  ",
    ]
    for each in survey.segments:
        lines.append(
            f"{each.name[:31]:<36}{each.first:>16,}{each.last:>16,}{each.size_bytes:>14,}  {each.note}"
        )
    lines += ["", f"{'cursor':<36}{'position':>16}{'waiting':>16}"]
    lines += [f"{each.name:<36}{each.position:>16,}{each.waiting:>16,}" for each in survey.cursors]
    streams = sorted(survey.taken.items())
    lines += ["", f"{'source stream':<66}{'taken up to':>16}"]
    lines += [f"{name:<66}{position:>16,}" for name, position in streams[:_STREAMS_SHOWN]]
    if len(streams) > _STREAMS_SHOWN:
        lines.append(f"and {len(streams) - _STREAMS_SHOWN:,} more; --json has all of them")
    return "\n".join([*lines, *_endings(survey)])


def _verdict(survey: Survey) -> str:
    if not survey.damages:
        verdict = [f"{survey.records:,} records of {survey.size_bytes:,} bytes are as they were written"]
        return "\n".join(verdict + _endings(survey))
    return "\n".join([*survey.damages, *_endings(survey)])


def _endings(survey: Survey) -> list[str]:
    if not survey.unfinished_bytes:
        return []
    return [f"unfinished at the end: {survey.unfinished_bytes:,} bytes of {survey.segments[-1].name}"]


if __name__ == "__main__":
    sys.exit(command())
