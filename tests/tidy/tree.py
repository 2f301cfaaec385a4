"""The files of this repository, as the tidy tests look at them."""

from __future__ import annotations

import ast
import functools
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("agent", "collector", "master")
PACKAGES = ("qanat", *PROGRAMS)
GENERATED = ROOT / "qanat" / "wire"
_NOT_OURS = {
    ".venv",
    ".git",
    "build",
    "dist",
    "__pycache__",
    "bench-data",
    "demo-data",
    ".ruff_cache",
    ".mypy_cache",
    ".hypothesis",
}


@functools.cache
def modules() -> tuple[Path, ...]:
    """Every Python file of our packages that people wrote."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    return tuple(file for file in files if not file.is_relative_to(GENERATED))


def texts(*suffixes: str) -> Iterator[Path]:
    """Every file with one of these suffixes, in our directories."""
    for directory, subdirectories, names in os.walk(ROOT):
        subdirectories[:] = sorted(set(subdirectories) - _NOT_OURS)
        yield from (Path(directory, file) for file in sorted(names) if file.endswith(suffixes))


def name(file: Path) -> str:
    """The path from the root, for messages and test ids."""
    return file.relative_to(ROOT).as_posix()


@functools.cache
def parsed(file: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(file.read_text(), filename=name(file))


def is_pure(file: Path) -> bool:
    """The file promises to have no I/O, clock or randomness: by its directory, or `[pure]` in its docstring."""
    if name(file).startswith(("qanat/flow/", "qanat/delivery/")):
        return True
    return "[pure]" in (ast.get_docstring(parsed(file)) or "")


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that is imported when the file runs, at its top or later.

    Imports for type checkers only are left out: they run nowhere.
    """
    for node in _executed(parsed(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(file)}:{node.lineno}: relative import; write the full name"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _executed(child)
