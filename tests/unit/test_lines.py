"""Counting lines."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from qanat.lines import count_lines

BLOCKS = st.lists(
    st.sampled_from([b"\n", b"\n\n", b"a", b"\0", b"\x0a\x0b\x09", b"\xff" * 15, b"x" * 64, b"\x8a" * 31])
).map(b"".join)


@given(BLOCKS, st.integers(0, 70))
@example(b"", 0)
@example(b"\n" * 4096, 1)
def test_it_counts_what_bytes_count_does_wherever_the_block_begins(block, start):
    view = memoryview(block)[start:]
    assert count_lines(view) == bytes(view).count(b"\n")
    assert count_lines(block) == block.count(b"\n")
    assert count_lines(bytearray(block)) == block.count(b"\n")
