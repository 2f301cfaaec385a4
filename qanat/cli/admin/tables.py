"""Tables on a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence

import click

COLOURS = {
    "ACTIVE": "green", "applied": "green", "attached": "green", "yes": "green",
    "ERROR": "red", "failed": "red", "LOST": "red", "lost": "red", "NO_PROGRESS": "red", "no": "red",
    "applying": "yellow", "waiting": "yellow", "OPENING": "yellow", "CLOSING": "yellow", "HELLO": "yellow",
}  # fmt: skip

# Output that is not a terminal is not cut to any width: pipes want whole lines.
_PIPE_COLUMNS_MAX = 10_000

_GAP = "  "
_INDENT = 4


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Whole words of every cell, whatever the width."""
    for line in table_lines(header, rows):
        click.echo(line)


def table_lines(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Where the last column does not fit beside the others, its cells stand below their rows."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_COLUMNS_MAX
    widths = [max(map(_width, column)) for column in zip(header, *rows, strict=True)]
    is_below = sum(widths) + len(_GAP) * (len(widths) - 1) > columns
    shown = len(header) - is_below
    yield _row(header[:shown], widths, header=True)
    for row in rows:
        yield _row(row[:shown], widths)
        if is_below and row[-1]:
            yield from _below(row[-1], columns)


def _row(row: tuple[str, ...], widths: Sequence[int], *, header: bool = False) -> str:
    cells = [_cell(cell, width, header=header) for cell, width in zip(row, widths, strict=False)]
    return _GAP.join(cells).rstrip()


def _cell(text: str, width: int, *, header: bool) -> str:
    padding = " " * (width - _width(text))
    styled = (
        click.style(text, bold=True)
        if header
        else click.style(text, fg=COLOURS[text])
        if text in COLOURS
        else text
    )
    return styled + padding


def _below(text: str, columns: int) -> list[str]:
    indent = " " * _INDENT
    lines = textwrap.wrap(
        text, max(20, columns - _INDENT), break_long_words=False, break_on_hyphens=False, tabsize=4
    )
    return [indent + line for line in lines]


def _width(text: str) -> int:
    """Columns of a terminal that it takes."""
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)
