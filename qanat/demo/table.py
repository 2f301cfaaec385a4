"""What the demo shows: a table that refreshes on a terminal, a line a second in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from qanat.demo.plan import AGENTS, title
from qanat.demo.watch import Busy, FileRow

# What is not the table of files: programs, totals, and a few announcements above.
_OTHER_LINES = 25
_FILES_MIN = 3


@dataclass(frozen=True, slots=True)
class ProgramRow:
    """One program now."""

    name: str
    state: str  # starting, running, dead
    pid: int | None
    starts: int
    events_s: float
    bytes_s: float
    peers: str  # where an agent delivers to, whom a collector hears, what a master serves


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is shown at a time."""

    elapsed_s: float  # since the demo began
    writing_s: float  # since the application began to write
    total_s: float  # that it will write
    programs: Sequence[ProgramRow]
    files: Sequence[FileRow]
    busy: Busy


class Display(Protocol):
    """Where the demo speaks to."""

    def say(self, text: str, style: str = "") -> None:
        """Something that stays; `style` is for terminals."""

    def show(self, view: View) -> None:
        """The present state; may be left out."""

    def close(self) -> None:
        """No more `show`."""


class PipeDisplay:
    """Plain lines, no control characters."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0
        self.say("A line a second: events that agents read (> where they deliver to), that collectors store, "
                 "written so far, in storage so far.")  # fmt: skip

    def say(self, text: str, style: str = "") -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, view: View) -> None:
        if view.elapsed_s < self._next_s or not view.busy.written:
            return
        self._next_s = int(view.elapsed_s) + 1
        programs = "  ".join(filter(None, map(_in_a_line, view.programs)))
        self.say(
            f"{view.elapsed_s:4.0f} s  {programs}  written {view.busy.written:,}  stored {view.busy.stored:,}"
        )

    def close(self) -> None:
        pass


def _in_a_line(row: ProgramRow) -> str:
    """Of a master only what is wrong: it is not on the way of the data."""
    if row.state != "running":
        return f"{row.name} {row.state}"
    if title(row.name).startswith("master"):
        return ""
    goes_to = f" > {row.peers}" if row.name in AGENTS and row.peers else ""
    return f"{row.name} {row.events_s:,.0f}/s{goes_to}"


class TerminalDisplay:
    """A table in place, with announcements scrolling above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def say(self, text: str, style: str = "") -> None:
        self._console.print(text, markup=False, highlight=False, style=style)

    def show(self, view: View) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
            self._live.start()
        self._live.update(render(view, self._console.height), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def render(view: View, height: int) -> Group:
    """The view in at most `height` lines of a terminal, as far as that is possible."""
    busy = view.busy
    seconds = f"{min(view.writing_s, view.total_s):.0f} of {view.total_s:.0f} s"
    return Group(
        "",
        _programs(view.programs),
        "",
        _files(view.files, max(_FILES_MIN, height - _OTHER_LINES)),
        "",
        f" busy files: [b]{busy.written:,}[/] events written, [b]{busy.stored:,}[/] stored, "
        f"{max(0, busy.written - busy.stored):,} on their way; rotations: {busy.rotations}; {seconds}",
    )


_VERBS = {"a": "delivers to", "c": "stores for", "m": "serves"}
_COLOURS = {"running": "green", "starting": "yellow", "dead": "bold red"}


def _programs(rows: Sequence[ProgramRow]) -> Table:
    table = Table(box=None, pad_edge=True, header_style="bold")
    for heading in ("program", "state", "pid", "starts", "events/s", "MB/s", ""):
        number = heading in ("pid", "starts", "events/s", "MB/s")
        table.add_column(heading, justify="right" if number else "left", min_width=8, no_wrap=True)
    for row in rows:
        table.add_row(
            title(row.name),
            f"[{_COLOURS[row.state]}]{row.state}[/]",
            "" if row.pid is None else str(row.pid),
            str(row.starts),
            "" if row.name[0] == "m" else f"{row.events_s:,.0f}",
            "" if row.name[0] == "m" else f"{row.bytes_s / 1e6:.1f}",
            row.peers and f"{_VERBS[row.name[0]]} {row.peers}",
        )
    return table


def _files(rows: Sequence[FileRow], rows_max: int) -> Table:
    table = Table(box=None, pad_edge=True, header_style="bold")
    table.add_column("file", overflow="ellipsis", no_wrap=True, max_width=44)
    for heading in ("bytes", "stored up to", "behind"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=13)
    shown = rows if len(rows) <= rows_max else rows[: rows_max - 1]
    for row in shown:
        behind = max(0, row.size - row.position)
        table.add_row(escape(row.name), f"{row.size:,}", f"{row.position:,}", f"{behind:,}")
    if hidden := rows[len(shown) :]:
        size, position = sum(row.size for row in hidden), sum(row.position for row in hidden)
        table.add_row(f"and {len(hidden)} more", f"{size:,}", f"{position:,}", f"{max(0, size - position):,}")
    return table


def display(console: Console) -> Display:
    """For a terminal or a pipe."""
    return TerminalDisplay(console) if console.is_terminal else PipeDisplay(console)
