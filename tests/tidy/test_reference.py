"""The reference pages are generated, and committed for whoever reads them in the repository."""

from __future__ import annotations

import runpy

from tests.tidy.tree import ROOT


def test_reference_is_what_the_components_say():
    fresh = runpy.run_path(str(ROOT / "docs" / "reference.py"))["pages"]()
    committed = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
    stale = {name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name)}
    assert not stale, f"run `make docs`: {', '.join(sorted(stale))}"


def test_metrics_page_is_what_the_programs_export():
    fresh = runpy.run_path(str(ROOT / "docs" / "metrics_page.py"))["page"]()
    assert (ROOT / "docs" / "metrics.md").read_text() == fresh, "run `make docs`"
