"""Names, gaps and cuts that all channels share."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qanat import columns
from qanat.batch import lines_batch
from qanat.channels.streams import cut_before, earlier_streams, nth_line_end, numbered, stream_name

LINES = st.lists(st.binary(max_size=6).map(lambda body: body.replace(b"\n", b"\r") + b"\n"), max_size=20)


@given(LINES, st.data())
def test_nth_line_end_is_the_length_of_the_first_lines(lines, data):
    number = data.draw(st.integers(0, len(lines)))
    assert nth_line_end(b"".join(lines), number) == len(b"".join(lines[:number]))


@given(LINES, st.data())
def test_cut_is_what_the_conversion_module_cuts(lines, data):
    batch = lines_batch("s", 10, b"".join(lines), timestamp_ns=1, attributes={})
    at = batch.start + len(b"".join(lines[: data.draw(st.integers(0, len(lines)))]))
    assert cut_before(batch, at) == columns.slice_positions(batch, at, batch.end)
    channel = numbered(batch, "c", 7)
    number = 7 + data.draw(st.integers(0, len(lines)))
    assert cut_before(channel, number) == columns.slice_positions(channel, number, channel.end)


@pytest.mark.parametrize("position", [9, 12, 15])
def test_cut_through_a_line_or_beside_the_batch_is_refused(position):
    batch = lines_batch("s", 10, b"ab\nc\n", timestamp_ns=1, attributes={})
    with pytest.raises(ValueError, match="s"):
        cut_before(batch, position + (1 if position == 15 else 0))


def test_earlier_streams_are_those_of_the_same_logical_node():
    now = stream_name("web", "b")
    known = {stream_name("web", "a"): 7, now: 9, stream_name("web2", "a"): 1, "/var/log/x": 3}
    assert earlier_streams(known, now) == {stream_name("web", "a"): 7}


def test_cutting_lines_does_not_load_arrow():
    script = (
        "import sys; from qanat.batch import lines_batch; from qanat.channels.streams import cut_before, numbered;"
        "batch = numbered(lines_batch('s', 0, b'a\\nb\\n', timestamp_ns=1, attributes={}), 'c', 5);"
        "assert cut_before(batch, 6).payload == b'b\\n'; sys.exit('pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
