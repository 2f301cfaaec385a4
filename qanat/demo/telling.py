"""What the demo says while it runs: announcements as things change, and the view that is shown now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from qanat.demo.cluster import Cluster
from qanat.demo.plan import ADDED, AGENTS, COLLECTORS, Plan, title
from qanat.demo.table import Display, ProgramRow, View
from qanat.demo.watch import Watch

# Lists of files make long lines, of which the beginning says enough.
_COLUMNS_MAX = 150


class Telling:
    """Sits between what is watched and where it is shown."""

    def __init__(self, plan: Plan, watch: Watch, cluster: Cluster, display: Display, seconds: float) -> None:
        self._plan = plan
        self._watch = watch
        self._cluster = cluster
        self._display = display
        self._seconds = seconds
        self._starts_s = time.monotonic()
        self._began_s: float | None = None
        self._killed_at_s: dict[str, float] = {}
        self._owners: dict[str, str] = {}
        self._attached: dict[str, str] = {}
        self._leader = ""

    def begin(self) -> None:
        """The application writes from now on."""
        self._began_s = time.monotonic()

    @property
    def writing_s(self) -> float:
        """Since `begin`."""
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    @property
    def elapsed_s(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._starts_s

    def say(self, text: str, style: str = "") -> None:
        """With the time."""
        self._display.say(f"{self.elapsed_s:4.0f} s  {text}", style)

    def command(self, arguments: Sequence[str], output: str) -> None:
        """A command and what it printed."""
        words = (Path(word).name if word.startswith("/") else word for word in arguments)
        self.say(f"$ qanat {' '.join(words)}", "bold cyan")
        for line in _settled(output.splitlines()):
            text = line.rstrip().expandtabs(2)
            self._display.say(
                f"          {text if len(text) <= _COLUMNS_MAX else text[:_COLUMNS_MAX] + ' ...'}"
            )

    def was_killed(self, name: str) -> None:
        """Its return will be announced."""
        self._killed_at_s[name] = self.elapsed_s

    def look(self) -> None:
        """Tell what has changed since the last look, and show how things are."""
        self._announce_returns()
        self._announce_owners()
        self._announce_masters()
        rows = [self._row(name) for name in self._shown()]
        view = View(self.elapsed_s, self.writing_s, self._seconds, rows, self._watch.files, self._watch.busy)
        self._display.show(view)

    def _announce_returns(self) -> None:
        for name, killed_at_s in list(self._killed_at_s.items()):
            pid = self._cluster.pid(name)
            if pid is not None and self._watch.meters[name].is_answering:
                self.say(
                    f"{title(name)} is back after {self.elapsed_s - killed_at_s:.1f} s (pid {pid})", "green"
                )
                del self._killed_at_s[name]

    def _announce_owners(self) -> None:
        for agent, collector in self._watch.owners.items():
            before = self._owners.get(agent)
            if before and collector and before != collector:
                self.say(f"{title(agent)} delivers to {title(collector)} now, no longer to {before}")
            self._owners[agent] = collector

    def _announce_masters(self) -> None:
        said = self._watch.said
        if said is None:
            return
        for node, master in sorted(said.attached.items()):
            before = self._attached.get(node)
            if before and before != master:
                self.say(f"{title(node)} is attached to {title(master)} now, no longer to {before}")
            self._attached[node] = master
        if said.leader and said.leader != self._leader:
            if self._leader:
                self.say(f"{title(said.leader)} leads now, no longer {self._leader}")
            self._leader = said.leader

    def _shown(self) -> list[str]:
        names = (*self._plan.masters, *AGENTS, *COLLECTORS, ADDED)
        return [name for name in names if name != ADDED or self._cluster.starts(name)]

    def _row(self, name: str) -> ProgramRow:
        meter, owners, pid = self._watch.meters[name], self._watch.owners, self._cluster.pid(name)
        state = "dead" if pid is None else "running" if meter.is_answering else "starting"
        if name in AGENTS:
            peers = owners.get(name, "")
        elif name in self._plan.masters:
            peers = self._served(name)
        else:
            peers = ", ".join(agent for agent in AGENTS if owners.get(agent) == name)
        return ProgramRow(name, state, pid, self._cluster.starts(name), *meter.rates, peers)

    def _served(self, master: str) -> str:
        said = self._watch.said
        if said is None or master not in said.masters:
            return ""
        nodes = ", ".join(sorted(node for node, at in said.attached.items() if at == master)) or "nobody"
        return f"{nodes}; leads" if said.leader == master else nodes


def _settled(lines: Sequence[str]) -> list[str]:
    """Of the progress of a wait, only the end: what was on the way is shown by the table."""
    return [line for line, after in zip(lines, [*lines[1:], ""], strict=True)
            if not (line.startswith("applied: ") and after.startswith("applied: "))]  # fmt: skip
