"""What the files say: comments on limits, length, links, paths."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.tidy.tree import ROOT, modules, name, parsed, texts

# The tail that style.md warns of, not a target: 25 and 300 lines are.
FUNCTION_LINES_MAX = 80
FILE_LINES_MAX = 450

LIMIT = re.compile(r"^_?[A-Z][A-Z0-9_]*_(MAX|MIN|TARGET|BYTES|EVENTS|S|NS)(_MAX|_MIN)?$")

# Homes of people and of machines. In two parts, or this file would be the first to break the rule.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:ho" r"me/\w|ro" r"ot/|Us" r"ers/\w|wo" r"rk/\w)")

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENTRY_POINTS = [
    f"{group}: {entry}"
    for group, entries in {"scripts": PROJECT["scripts"], **PROJECT.get("entry-points", {})}.items()
    for entry in entries.values()
]
MARKDOWN = [*texts(".md")]


def _limits(file: Path) -> Iterator[ast.Assign | ast.AnnAssign]:
    """Module constants with a limit's name and a number, or a calculation with numbers, for a value."""
    for node in parsed(file).body:
        if (
            isinstance(node, ast.Assign | ast.AnnAssign)
            and LIMIT.match(_target(node))
            and node.value is not None
            and not any(isinstance(part, ast.Call | ast.Dict) for part in ast.walk(node.value))
        ):
            yield node


def _target(node: ast.Assign | ast.AnnAssign) -> str:
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)


def _is_commented(lines: list[str], node: ast.Assign | ast.AnnAssign) -> bool:
    """A comment within the statement, or above the block of assignments that it stands in."""
    if any("#" in line for line in lines[node.lineno - 1 : node.end_lineno]):
        return True
    above = node.lineno - 2
    while above >= 0 and lines[above].strip() and not lines[above].startswith("#"):
        above -= 1
    return above >= 0 and lines[above].startswith("#")


@pytest.mark.parametrize("file", modules(), ids=name)
def test_limit_says_why_it_has_its_value(file):
    lines = file.read_text().splitlines()
    bare = [f"{node.lineno} {_target(node)}" for node in _limits(file) if not _is_commented(lines, node)]
    assert not bare, f"a limit has a comment that argues its value (style, rule 9): {name(file)}:{bare}"


@pytest.mark.parametrize("file", modules(), ids=name)
def test_function_and_file_are_short_enough_to_read(file):
    functions = [
        node for node in ast.walk(parsed(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [f"{node.name} has {lines} lines" for node in functions
            if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX]  # fmt: skip
    lines = len(file.read_text().splitlines())
    assert not long, f"{name(file)}, limit {FUNCTION_LINES_MAX}: {long}"
    assert lines <= FILE_LINES_MAX, f"{name(file)} has {lines} lines: split it by responsibility"


@pytest.mark.parametrize("file", modules(), ids=name)
def test_module_says_what_it_is_for(file):
    assert not parsed(file).body or ast.get_docstring(parsed(file)), f"{name(file)} has no docstring"


def test_no_file_knows_a_machine():
    found = [
        f"{name(file)}:{number}: {line.strip()}"
        for file in texts(
            ".py", ".md", ".toml", ".proto", ".lark", ".flow", ".service", ".conf", ".env", ".yaml", ".sh"
        )
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not found, "paths of somebody's machine:\n" + "\n".join(found)


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_entry_point_can_be_imported(entry):
    module, _, attribute = entry.partition(": ")[2].partition(":")
    assert hasattr(import_module(module), attribute)


def _anchors(file: Path) -> set[str]:
    """What the headings of a Markdown file are called in links."""
    headings = re.findall(r"^#+ +(.+?)\s*$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_broken(file: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (file.parent / path) if path else file
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in _anchors(target)


@pytest.mark.parametrize("file", MARKDOWN, ids=name)
def test_links_to_our_files_lead_somewhere(file):
    links = [one or other for one, other in LINK.findall(file.read_text())]
    broken = [link for link in links if not re.match(r"[a-z]+:", link) and _is_broken(file, link)]
    assert not broken, f"{name(file)}: {broken}"


def test_changelog_has_a_place_for_the_next_change():
    assert re.search(r"^## Unreleased$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_licence_is_the_one_that_the_package_names():
    assert PROJECT["license"]["text"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
