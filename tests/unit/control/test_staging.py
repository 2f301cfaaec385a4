"""A change that is staged: what is stored for it, and what is left to be done of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat.control.staging import Staged, chunks, left, pack, unpack
from qanat.coordination.request import request_bytes
from qanat.coordination.store import Check, Create, Delete, Node, Set
from qanat.errors import CorruptError

PATHS = st.from_regex(r"\A/[a-z]{1,8}\Z")
VERSIONS = st.integers(0, 3)
OPS = st.one_of(
    st.builds(Create, PATHS, st.binary(max_size=50)),
    st.builds(Set, PATHS, st.binary(max_size=50), VERSIONS),
    st.builds(Delete, PATHS, VERSIONS),
)
CHANGES = st.lists(OPS, unique_by=lambda op: op.path)


def before(op):
    """The znode that an operation finds."""
    return None if isinstance(op, Create) else Node(b"before", op.version)


@given(CHANGES, st.integers(1, 1 << 40))
def test_change_is_read_back_as_it_was_stored(ops, revision):
    staged = unpack(pack(revision, ops), "/staged")
    assert (staged.revision, staged.ops) == (revision, ops)


@given(CHANGES, st.data())
def test_what_is_left_is_what_was_not_done(ops, data):
    done = {op.path for op in ops if data.draw(st.booleans())}
    after = Staged(1, unpack(pack(1, ops), "/staged").changes).nodes
    found = {op.path: after[op.path] if op.path in done else before(op) for op in ops}
    assert left(ops, found) == [op for op in ops if op.path not in done]


@given(CHANGES, st.integers(1, 1000))
def test_chunks_are_the_change_in_its_order_and_no_larger_than_they_may_be(ops, bytes_max):
    cut = list(chunks(ops, bytes_max))
    assert [op for chunk in cut for op in chunk] == ops
    assert all(chunk and (len(chunk) == 1 or request_bytes(chunk) <= bytes_max) for chunk in cut)


def test_nothing_is_staged_in_an_empty_value_and_anything_else_is_an_error():
    assert unpack(b"", "/staged") is None
    with pytest.raises(CorruptError, match=r"/staged .* no change of ours"):
        unpack(b"{}", "/staged")


def test_check_is_no_change():
    with pytest.raises(ValueError, match="can't be put off"):
        pack(1, [Check("/a", 1)])
