"""The reference pages are generated, and committed for whoever reads them in the repository."""

from __future__ import annotations

import re
import runpy

import pytest

from qanat.check import check
from tests.tidy.tree import ROOT


def test_reference_is_what_the_components_say():
    fresh = runpy.run_path(str(ROOT / "docs" / "reference.py"))["pages"]()
    committed = {path.name: path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")}
    stale = {name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name)}
    assert not stale, f"run `make docs`: {', '.join(sorted(stale))}"


def test_metrics_page_is_what_the_programs_export():
    fresh = runpy.run_path(str(ROOT / "docs" / "metrics_page.py"))["page"]()
    assert (ROOT / "docs" / "metrics.md").read_text() == fresh, "run `make docs`"


def _examples():
    """Every logical node on a page, as a reader types it into a file of its own."""
    for page in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for number, line in enumerate(page.read_text().splitlines(), start=1):
            if re.match(r"    [\w.]+ : ", line):
                yield pytest.param(line, id=f"{page.stem}:{number}")


@pytest.mark.parametrize("line", [*_examples()])
def test_example_of_a_reference_page_has_no_faults(line):
    check(line)
