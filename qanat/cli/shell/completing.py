"""What may come next in a line of the shell: commands, arguments, names that masters know, files, components."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from click.shell_completion import CompletionItem, ShellComplete

from qanat import registry
from qanat.cli import completion_names
from qanat.cli.shell import nodes, words
from qanat.cli.shell.helping import LOCAL
from qanat.cli.shell.interpreter import Interpreter
from qanat.cli.shell.verbs import VERBS
from qanat.errors import ConfigError

# Of a directory with a hundred thousand files nobody wants a list.
FILES_MAX = 200

# Where the name of a component stands: at the end of what was typed.
_COMPONENT = re.compile(r"[A-Za-z_]\w*$|$")

# What components may stand in an argument of this kind.
_GROUPS = {
    "source": (registry.SOURCES, registry.COLLECTOR_SOURCES, registry.CHANNELS),
    "sink": (registry.AGENT_SINKS, registry.SINKS),
}

# Arguments of the shell's own commands that a master or the disk knows; the last one of any further.
_KINDS = {
    "source": ("file",),
    "getmappings": ("physical",),
    **dict.fromkeys(nodes.MEANING, ("", "node")),
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """`text` replaces what was typed from `start` on. `is_whole`: a blank follows."""

    text: str
    start: int
    help: str = ""
    is_whole: bool = True


class Completions:
    """Of what was typed so far. *Blocking*, up to a second: asks masters."""

    def __init__(self, interpreter: Interpreter, cli: click.Command) -> None:
        self._interpreter = interpreter
        self._cli = cli

    def of(self, text: str) -> list[Candidate]:
        """Nothing when what was typed can't be read."""
        try:
            line = words.read(text)
        except ConfigError:
            return []
        found = self._found(line.words, line.rest, line.quote)
        return [self._placed(item, line) for item in found]

    def _placed(self, item: Candidate, line: words.Line) -> Candidate:
        """Quoted where it has to be, and measured from the start of the line."""
        text = item.text if line.quote else words.quoted(item.text)
        return Candidate(text, line.start + item.start, item.help, item.is_whole)

    def _found(self, before: list[str], rest: str, quote: str) -> list[Candidate]:
        if not before:
            return _of(rest, {name: self._about(name) for name in self._interpreter.names})
        name, *arguments = before
        if name in ("exec", "submit"):
            return self._after_exec(name, arguments, rest)
        if name == "help" and not arguments:
            return _of(rest, {each: self._about(each) for each in {*self._interpreter.names, *VERBS}})
        if name == "connect":
            return _of(rest, dict.fromkeys(self._interpreter.connection.masters, ""))
        if name == "wait" and arguments[:1] and arguments[0].isdigit():
            return []
        if name in _KINDS:
            return self._of_kind(_kind(_KINDS[name], len(arguments)), rest)
        if name in self._interpreter.admin_names:
            return self._of_admin(before, rest)
        return []

    def _after_exec(self, name: str, arguments: list[str], rest: str) -> list[Candidate]:
        if not arguments:
            return _of(rest, {each: verb.sentence for each, verb in VERBS.items()})
        verb = VERBS.get(arguments[0])
        if verb is not None:
            return self._of_kind(_kind(verb.kinds, len(arguments) - 1), rest)
        if name == "exec" and arguments[0] in self._interpreter.admin_names:
            return self._of_admin(arguments, rest)
        return []

    def _of_kind(self, kind: str, rest: str) -> list[Candidate]:
        if kind == "file":
            return list(_files(rest))
        if kind in _GROUPS:
            return _components(kind, rest)
        ask = {
            "logical": completion_names.logical,
            "physical": completion_names.physical,
            "node": completion_names.nodes,
            "limit": completion_names.limits,
        }.get(kind)
        if ask is None:
            return []
        with click.Context(self._cli, obj=self._interpreter.connection) as context:
            return _items(ask(context, click.Argument(["names"]), rest))

    def _of_admin(self, arguments: list[str], rest: str) -> list[Candidate]:
        """By the code that completes `qanat ...` in bash."""
        found: list[CompletionItem[str]] = []
        with contextlib.suppress(click.ClickException, ConfigError):
            completer = ShellComplete(self._cli, {"obj": self._interpreter.connection}, "qanat", "")
            found = completer.get_completions(arguments, rest)
        if any(item.type in ("file", "dir") for item in found):
            return list(_files(rest))
        return _items(found)

    def _about(self, name: str) -> str:
        from qanat.cli.main import BUILT_IN

        if name in LOCAL:
            return LOCAL[name][1]
        return BUILT_IN[name][1] if name in BUILT_IN else VERBS[name].sentence


def _of(rest: str, named: dict[str, str]) -> list[Candidate]:
    return [Candidate(name, 0, about) for name, about in sorted(named.items()) if name.startswith(rest)]


def _items(items: Iterable[CompletionItem[str]]) -> list[Candidate]:
    return [Candidate(item.value, 0, item.help or "") for item in items]


def _kind(kinds: tuple[str, ...], index: int) -> str:
    return kinds[min(index, len(kinds) - 1)] if kinds else ""


def _components(kind: str, rest: str) -> list[Candidate]:
    match = _COMPONENT.search(rest)
    start = match.start() if match else len(rest)
    names = sorted({name for group in _GROUPS[kind] for name in registry.names(group)})
    return [Candidate(name, start, kind, is_whole=False) for name in names if name.startswith(rest[start:])]


def _files(rest: str) -> Iterator[Candidate]:
    """Below the directory that `rest` names."""
    directory, _, begun = rest.rpartition("/")
    shown = f"{directory}/" if "/" in rest else ""
    with contextlib.suppress(OSError):
        with os.scandir(Path(shown or ".").expanduser()) as entries:
            found = sorted((entry.name, entry.is_dir()) for entry in entries if entry.name.startswith(begun))
        for name, is_directory in found[:FILES_MAX]:
            if begun or not name.startswith("."):
                yield Candidate(
                    f"{shown}{name}" + ("/" if is_directory else ""), 0, is_whole=not is_directory
                )
