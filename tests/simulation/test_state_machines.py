"""The drawings of the state machines are what the cores do."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_drawings_are_what_the_cores_do() -> None:
    fresh = runpy.run_path(str(DOCS / "state_machines.py"))["page"]()
    assert fresh == (DOCS / "state-machines.md").read_text(encoding="utf-8"), "run `make docs`"
