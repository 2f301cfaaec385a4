"""Tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {
    "ACTIVE": "green", "applied": "green", "attached": "green", "yes": "green",
    "ERROR": "red", "failed": "red", "LOST": "red", "lost": "red", "NO_PROGRESS": "red", "no": "red",
    "applying": "yellow", "waiting": "yellow", "OPENING": "yellow", "CLOSING": "yellow", "HELLO": "yellow",
}  # fmt: skip

# Output that is not a terminal is not cut to any width: pipes want whole lines.
_PIPE_COLUMNS_MAX = 10_000


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """The last column may be long, and is wrapped."""
    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in header[:-1]:
        table.add_column(name, no_wrap=True)
    table.add_column(header[-1], overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    Console(width=None if terminal else _PIPE_COLUMNS_MAX, highlight=False).print(table)
