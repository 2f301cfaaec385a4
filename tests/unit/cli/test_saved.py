"""The file that `qanat save` writes and `qanat load` reads."""

from __future__ import annotations

import pytest

from qanat.cli.admin.configuration import read_saved, saved_text
from qanat.control.operations.configuration import LimitRow, Saved
from qanat.errors import ConfigError


def test_what_was_saved_is_read_back_with_mappings_and_limits():
    mapping = {"host-17": ["web", "app"], 'odd "name"': ["web"]}
    limits = [LimitRow(id="lan", events_s=0.0, bytes_s=1e6)]
    text = saved_text(Saved(text="# nothing\n", mapping=mapping, limits=limits))
    read = read_saved(text, "all.flow")
    assert (read.text, read.mapping, read.limits) == (text, mapping, limits)


@pytest.mark.parametrize(
    "line", ["# mapped: 5", "# mapped: []", "# mapped: [1]", "# limit: [", '# limit: ["a", "b", 1]']
)
def test_lines_that_were_damaged_are_named(line):
    with pytest.raises(ConfigError, match=r"^all\.flow:2: "):
        read_saved(f"// a\n{line}\n", "all.flow")
