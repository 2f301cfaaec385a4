"""The end of the demo: what is in the files, against what is in storage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from qanat.demo import logs
from qanat.demo.plan import AGENTS, LINE_BYTES, Plan
from qanat.ledger.account import Expectation
from qanat.ledger.extract import Extractor
from qanat.ledger.verify import verify


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger. `wrong` says what else is not as it should be."""

    name: str
    read: int
    stored: int
    lost: int
    doubled: int
    reordered: int
    wrong: str = ""

    @property
    def clean(self) -> bool:
        return self.read == self.stored and not (self.lost or self.doubled or self.reordered or self.wrong)


@dataclass(frozen=True, slots=True)
class Ledger:
    """`changed`: real log files that something else cut meanwhile, so that nothing can be said about them."""

    entries: Sequence[Entry]
    changed: Sequence[Path]

    @property
    def clean(self) -> bool:
        return all(entry.clean for entry in self.entries)

    @property
    def total(self) -> Entry:
        sums = (
            sum(getattr(entry, name) for entry in self.entries)
            for name in ("read", "stored", "lost", "doubled", "reordered")
        )
        return Entry("together", *sums)


def settle(plan: Plan, files: Iterable[logs.LogFile]) -> Ledger:
    """Compare. Nothing may be writing any more. Raises CorruptError and RetryableError for unreadable storage."""
    entries = [_busy(plan, agent) for agent in AGENTS]
    files = list(files)
    account = logs.compare(files, plan.stored / "logs") if files else logs.Account()
    if files:
        wrong = f"{account.different} events differ from their file" if account.different else ""
        name = f"{len(files)} log{'s' if len(files) > 1 else ''} of this machine"
        counts = (account.read, account.stored, account.lost, account.doubled, account.reordered)
        entries.append(Entry(name, *counts, wrong))
    return Ledger(entries, account.changed)


def _busy(plan: Plan, agent: str) -> Entry:
    """The numbered lines of one busy file and its rotated predecessors, against the ledger of `qanat verify`."""
    path = plan.busy(agent)
    written_bytes = sum(each.stat().st_size for each in path.parent.glob(f"{path.name}*"))
    written, rest = divmod(written_bytes, LINE_BYTES)
    host = path.stem.replace("busy", "web")
    report = verify(
        [plan.stored / "busy"], Extractor(rf"^{host} seq=(\d+)", None), Expectation(0, written - 1, None)
    )
    wrong = [f"{report.unexpected} numbers were never written"] if report.unexpected else []
    wrong += ["it ends within a line"] if rest else []
    reordered = report.reordered
    return Entry(path.name, written, report.events, report.lost, report.doubled, reordered, "; ".join(wrong))


def show(ledger: Ledger, console: Console) -> None:
    """Print it."""
    table = Table(box=None, pad_edge=True, header_style="bold")
    table.add_column("", no_wrap=True)
    for title in ("read", "stored", "lost", "doubled", "out of order"):
        table.add_column(title, justify="right", no_wrap=True, min_width=8)
    for entry in (*ledger.entries, ledger.total):
        counts = (entry.read, entry.stored, entry.lost, entry.doubled, entry.reordered)
        style = "bold" if entry.name == ledger.total.name else ""
        faults = [f"{'[bold red]' if at > 1 and count else ''}{count:,}" for at, count in enumerate(counts)]
        table.add_row(entry.name, *faults, style=style)
    console.print(table)
    for entry in ledger.entries:
        if entry.wrong:
            console.print(f" {entry.name}: {entry.wrong}", markup=False, highlight=False)
    for path in ledger.changed:
        console.print(
            f" {path} was cut by something else meanwhile: not in the ledger", markup=False, highlight=False
        )
