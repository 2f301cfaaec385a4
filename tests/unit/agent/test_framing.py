"""Where events begin and end in the bytes of a connection, however these are cut."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.live.framing import CountedFramer, Framer, LineFramer, SizePolicy, SyslogFramer

LIMIT = 20
FRAMERS = [LineFramer, CountedFramer, SyslogFramer]


def bodies(content: bytes | list[bytes]) -> list[bytes]:
    """One by one; lines are well-formed."""
    if isinstance(content, list):
        return content
    assert not content or content.endswith(b"\n")
    return content.split(b"\n")[:-1]


def fed(framer: Framer, pieces: Sequence[bytes]) -> list[bytes]:
    return [
        *itertools.chain.from_iterable(bodies(framer.feed(each)) for each in pieces),
        *bodies(framer.finish()),
    ]


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    at = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[first:last] for first, last in itertools.pairwise(at) if first < last]


def counted(events: Sequence[bytes]) -> bytes:
    return b"".join(b"%d %b" % (len(each), each) for each in events)


@given(st.lists(st.binary(min_size=1, max_size=LIMIT), max_size=8), st.lists(st.integers(0, 150), max_size=8))
def test_counted_events_arrive_whole_however_they_are_cut(events: list[bytes], places: list[int]) -> None:
    framer = CountedFramer(SizePolicy(LIMIT, "split"))
    assert fed(framer, cut(counted(events), places)) == events
    assert framer.held_bytes == 0


@given(
    st.lists(st.binary(min_size=1, max_size=LIMIT).filter(lambda each: b"\n" not in each), max_size=8),
    st.lists(st.integers(0, 150), max_size=8),
)
def test_lines_arrive_whole_however_they_are_cut(lines: list[bytes], places: list[int]) -> None:
    data = b"".join(each + b"\n" for each in lines)
    wanted = [line for each in lines if (line := each.removesuffix(b"\r"))]
    found = fed(LineFramer(SizePolicy(LIMIT, "split")), cut(data, places))
    assert [each.removesuffix(b"\r") for each in found if each != b"\r"] == wanted


@pytest.mark.parametrize("framer", FRAMERS)
@pytest.mark.parametrize("oversize", ["split", "truncate"])
@given(data=st.binary(max_size=400), places=st.lists(st.integers(0, 400), max_size=10))
def test_framer_takes_anything_and_keeps_to_the_limit(
    framer: type[Framer], oversize: str, data: bytes, places: list[int]
) -> None:
    made = framer(SizePolicy(LIMIT, oversize))  # type: ignore[call-arg]
    for piece in cut(data, places):
        assert all(0 <= len(each) <= LIMIT for each in bodies(made.feed(piece)))
        assert made.held_bytes <= LIMIT + 12 + len(piece)
    assert all(0 < len(each) <= LIMIT for each in bodies(made.finish()) if each)


@given(st.lists(st.integers(1, 3 * LIMIT), max_size=6), st.lists(st.integers(0, 200), max_size=6))
def test_split_loses_no_byte_and_truncate_keeps_the_beginning(sizes: list[int], places: list[int]) -> None:
    events = [bytes([97 + number]) * size for number, size in enumerate(sizes)]
    lines = b"".join(each + b"\n" for each in events)
    for data, framer in ((counted(events), CountedFramer), (lines, LineFramer)):
        split = fed(framer(SizePolicy(LIMIT, "split")), cut(data, places))
        assert b"".join(split) == b"".join(events)
        truncated = fed(framer(SizePolicy(LIMIT, "truncate")), cut(data, places))
        assert truncated == [each[:LIMIT] for each in events]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"<1>a\n<2>b\n", [b"<1>a", b"<2>b"]),
        (b"4 <1>a4 <2>b", [b"<1>a", b"<2>b"]),
        (b"8 <1>a\nb\nc<2>", [b"<1>a\nb\nc", b"<2>"]),
        (b"4 apples\n<1>a\n", [b"4 apples", b"<1>a"]),
        (b"2024-01-01 x\n", [b"2024-01-01 x"]),
        (b"\n\r\nx\r\n\n", [b"x"]),
        (b"4 <1>a<2>b\n<3>c\n", [b"<1>a", b"<2>b", b"<3>c"]),  # counts no more: lines
        (b"123456789012 x\n", [b"123456789012 x"]),
        (b"0 <1>\n", [b"0 <1>"]),
        (b"7", [b"7"]),
        (b"7 ", [b"7 "]),
        (b"9 <1>abc", [b"<1>abc"]),  # the peer is gone before the rest
        (b"5 <1>a\n6 <2>b\r\n2 \n\0005 <3>\nc", [b"<1>a", b"<2>b", b"<3>\nc"]),  # counted, and line ends
    ],
)
def test_framing_is_found_out(data: bytes, events: list[bytes]) -> None:
    for pieces in ([data], [bytes([each]) for each in data]):
        assert fed(SyslogFramer(SizePolicy(1000, "split")), pieces) == events


def test_policy_counts_each_event_once() -> None:
    counts: list[str] = []
    policy = SizePolicy(10, "truncate", lambda name, n: counts.append(name))
    assert fed(LineFramer(policy), [b"x" * 95] * 3 + [b"\nnext\n"]) == [b"x" * 10, b"next"]
    assert fed(CountedFramer(policy), [b"30 " + b"y" * 30 + b"3 abc"]) == [b"y" * 10, b"abc"]
    assert counts == ["events_truncated"] * 2


@pytest.mark.parametrize("framer", FRAMERS)
def test_framer_does_not_copy_again_with_every_byte(framer: type[Framer]) -> None:
    made = framer(SizePolicy(1 << 20, "split"))  # type: ignore[call-arg]
    made.feed(b"900000 <")
    for _ in range(200_000):
        made.feed(b"x")
    assert made.held_bytes > 200_000


def test_lines_that_are_almost_too_long_are_looked_at_once() -> None:
    lines = [b"x" * 65_000] * 16
    assert fed(LineFramer(SizePolicy(1 << 16, "split")), [b"".join(line + b"\n" for line in lines)]) == lines
