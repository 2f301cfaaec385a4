"""What physical nodes and their labels may be called."""

from __future__ import annotations

import pytest

from qanat.control.names import fault_of, fault_of_id, fault_of_labels


@pytest.mark.parametrize("name", ["a", "host-17.example.org", "10.0.0.1", "Zürich 2", "a" * 200])
def test_names_of_hosts_and_people_are_names(name):
    assert fault_of(name) == ""


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\nb", "\x1b[31m", "a" * 201, "ü" * 101])
def test_what_is_no_file_name_or_moves_a_cursor_is_no_name(name):
    assert fault_of(name)
    assert len(fault_of(name)) < 100


def test_limits_may_have_slashes_in_their_names_and_nothing_worse():
    assert fault_of_id("lan/a") == ""
    assert fault_of_id("a\rb")


@pytest.mark.parametrize("labels", [{"a": "x" * 257}, {"a": "x\ny"}, {f"k{n}": "" for n in range(65)}])
def test_labels_without_end_are_refused(labels):
    assert fault_of_labels(labels)


def test_label_without_value_is_a_label():
    assert fault_of_labels({"canary": "", "dc": "eu 1"}) == ""
