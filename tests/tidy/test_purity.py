"""`[pure]` means no I/O, no clock, no randomness: whatever happens is a function of the arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.tree import imports, is_pure, modules, name, parsed

IMPURE = (
    *("asyncio", "concurrent", "contextvars", "fcntl", "glob", "grpc", "http", "io", "kazoo", "logging"),
    *(
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "prometheus_client",
        "psutil",
        "random",
        "secrets",
        "select",
    ),
    *("selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "structlog", "subprocess", "sys"),
    *("tempfile", "tenacity", "threading", "time", "urllib.request", "uuid", "uvloop"),
    *("qanat.cli", "qanat.coordination.embedded", "qanat.coordination.open", "qanat.metrics", "qanat.rpc"),
    "qanat.testing",
)

# Their Pure- classes are paths as text.
PURE_PARTS = {"pathlib.PurePath", "pathlib.PurePosixPath"}

# Calls that reach outside without an import, or through a module that is pure otherwise.
IMPURE_CALLS = {"open", "print", "input", "datetime.now", "datetime.utcnow", "date.today", "datetime.today"}

PURE = [file for file in modules() if is_pure(file)]


def _calls(file: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Call):
            yield node.lineno, ".".join(ast.unparse(node.func).split(".")[-2:])


@pytest.mark.parametrize("file", PURE, ids=name)
def test_pure_file_has_no_io_clock_or_randomness(file):
    impure = [
        f"line {line} imports {imported}"
        for line, imported in imports(file)
        if imported not in PURE_PARTS
        and any(imported == module or imported.startswith(f"{module}.") for module in IMPURE)
    ]
    impure += [f"line {line} calls {call}" for line, call in _calls(file) if call in IMPURE_CALLS]
    assert not impure, f"{name(file)} is pure; pass in what it needs:\n" + "\n".join(impure)
