"""Lines joined to events, compared with the obvious way to do it, and cut at any place."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.joining.config import Multiline
from agent.joining.joiner import Joiner
from qanat.errors import ConfigError

TIME = "2016-10-06T00:17:09.669794202Z"


def nothing(name: str, number: int) -> None:
    raise AssertionError(f"{name} was counted")


def events(joiner: Joiner, data: bytes, block: int) -> list[tuple[int, bytes]]:
    """Position and body of all events, read in blocks of about this size, as a reader does."""
    found: list[tuple[int, bytes]] = []
    at, want = 0, block
    while at < len(data):
        part = data[at : at + want]
        whole = at + want >= len(data)
        part = part[: part.rfind(b"\n") + 1]
        joined = joiner.join(part, at, whole=whole)
        if joined is None:
            assert not whole
            want *= 2
            continue
        found += zip(
            joined.columns.column("position").to_pylist(),
            joined.columns.column("body").to_pylist(),
            strict=True,
        )
        assert joined.end > at
        assert data[joined.end - 1 : joined.end] == b"\n"
        at, want = joined.end, block
    return found


LINES = st.lists(st.sampled_from([b"1 a", b"2", b" b", b"\tc", b"", b"x 1", b"\xff\r"]), max_size=30)
BLOCKS = st.integers(1, 60)


def plainly(lines: list[bytes], is_first: object) -> list[tuple[int, bytes]]:
    """A line at a time."""
    found: list[tuple[int, bytes]] = []
    at = 0
    for line in lines:
        if not found or is_first(line):  # type: ignore[operator]
            found.append((at, line))
        else:
            found[-1] = (found[-1][0], found[-1][1] + b"\n" + line)
        at += len(line) + 1
    return found


@given(LINES, BLOCKS)
def test_lines_are_joined_by_the_pattern_of_first_lines(lines, block):
    data = b"".join(line + b"\n" for line in lines)
    joiner = Joiner(Multiline(start=r"^\d"), "lines", nothing)
    assert events(joiner, data, block) == plainly(lines, re.compile(rb"\d").match)


@given(LINES, BLOCKS)
def test_lines_are_joined_by_the_pattern_of_other_lines(lines, block):
    data = b"".join(line + b"\n" for line in lines)
    joiner = Joiner(Multiline(continue_=r"^\s"), "lines", nothing)
    assert events(joiner, data, block) == plainly(lines, lambda line: not re.match(rb"\s", line))


@given(LINES, BLOCKS)
def test_lines_are_joined_by_both_patterns(lines, block):
    data = b"".join(line + b"\n" for line in lines)
    joiner = Joiner(Multiline(start=r"^\d", continue_=r"^[\sx]"), "lines", nothing)
    assert events(joiner, data, block) == plainly(
        lines, lambda line: re.match(rb"\d", line) or not re.match(rb"[\sx]", line)
    )


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]), st.booleans(), st.sampled_from(["1 a", " b", "", "é", 'c\\d"'])
    ),
    max_size=25,
)


def records_plainly(records, lengths, starts):
    """Parts joined within their output, then lines by the pattern within it, in the order in which they begin."""
    whole: dict[str, list[tuple[int, str]]] = {"stdout": [], "stderr": []}
    open_part: dict[str, bool] = {"stdout": False, "stderr": False}
    at = 0
    for (output, goes_on, text), length in zip(records, lengths, strict=True):
        if open_part[output]:
            position, before = whole[output][-1]
            whole[output][-1] = (position, before + text)
        else:
            whole[output].append((at, text))
        open_part[output] = goes_on
        at += length
    found = []
    for lines in whole.values():
        joined: list[tuple[int, str]] = []
        for position, text in lines:
            if starts and joined and not re.match(r"\d", text):
                joined[-1] = (joined[-1][0], joined[-1][1] + "\n" + text)
            else:
                joined.append((position, text))
        found += joined
    return [(position, text.encode()) for position, text in sorted(found)]


@given(RECORDS, st.booleans())
def test_cri_records_are_joined_within_their_output(records, starts):
    lines = [
        f"{TIME} {output} {'P' if goes_on else 'F'} {text}\n".encode() for output, goes_on, text in records
    ]
    joiner = Joiner(Multiline(start=r"^\d") if starts else None, "cri", nothing)
    data = b"".join(lines)
    assert events(joiner, data, len(data)) == records_plainly(records, map(len, lines), starts)


@given(RECORDS, BLOCKS)
def test_cri_records_are_the_same_from_blocks_of_any_size(records, block):
    lines = [
        f"{TIME} {output} {'P' if goes_on else 'F'} {text}\n".encode() for output, goes_on, text in records
    ]
    data = b"".join(lines)
    joiner = Joiner(None, "cri", nothing)
    assert events(joiner, data, block) == events(joiner, data, len(data) or 1)


@given(RECORDS, st.booleans())
def test_docker_records_are_joined_within_their_output(records, starts):
    lines = [
        json.dumps({"log": text + "\n" * (not goes_on), "stream": output, "time": TIME}).encode() + b"\n"
        for output, goes_on, text in records
    ]
    data = b"".join(lines)
    joiner = Joiner(Multiline(start=r"^\d") if starts else None, "docker", nothing)
    assert events(joiner, data, len(data)) == records_plainly(records, map(len, lines), starts)


@given(st.binary(max_size=300), st.sampled_from(["lines", "cri", "docker"]), st.booleans(), BLOCKS)
def test_any_bytes_are_joined_to_something(data, form, starts, block):
    if form == "lines" and not starts:
        return
    joiner = Joiner(Multiline(start=r"^\d") if starts else None, form, nothing)
    found = events(joiner, data + b"\n", block)
    assert [position for position, _ in found] == sorted({position for position, _ in found})


@given(LINES, LINES)
def test_spliced_files_give_the_events_of_one(before, after):
    first, second = (b"".join(line + b"\n" for line in lines) for lines in (before, after))
    if not before or not after:
        return
    joiner = Joiner(Multiline(start=r"^\d"), "lines", nothing)
    cut = joiner.join(first, 0, whole=False)
    at = cut.end if cut is not None else 0
    spliced = joiner.splice(first[at:], second, at, whole=True)
    assert spliced is not None
    found = cut.columns.column("body").to_pylist() if cut is not None else []
    found += spliced.before.column("body").to_pylist()
    rest = joiner.join(second[spliced.end :], spliced.end, whole=True)
    found += rest.columns.column("body").to_pylist() if rest is not None else []
    assert found == [body for _, body in plainly(before + after, re.compile(rb"\d").match)]
    assert spliced.after.num_rows == 0


@given(st.integers(1, 5), st.integers(1, 12), LINES)
def test_events_stay_within_their_limits_and_nothing_is_lost(max_lines, max_bytes, lines):
    counted: Counter[str] = Counter()
    data = b"".join(line + b"\n" for line in lines)
    multiline = Multiline(start=r"^\d", max_lines=max_lines, max_bytes=max_bytes)
    joiner = Joiner(multiline, "lines", lambda name, number: counted.update({name: number}))
    found = [body for _, body in events(joiner, data, len(data))]
    assert b"".join(body + b"\n" for body in found) == data
    assert all(body.count(b"\n") < max_lines for body in found)
    assert all(len(body) < max_bytes or b"\n" not in body for body in found)
    assert counted["events_split"] == len(found) - len(plainly(lines, re.compile(rb"\d").match))


def test_time_that_is_none_makes_a_line_that_is_none():
    joiner = Joiner(None, "cri", nothing)
    joined = joiner.join(f"{TIME} stdout F a\n2016-02-31T00:00:00Z stdout F b\n".encode(), 0, whole=True)
    assert joined.columns.column("body").to_pylist() == [b"a", b"2016-02-31T00:00:00Z stdout F b"]
    assert joined.columns.column("format_error").to_pylist() == [None, "no line of CRI"]
    assert joined.columns.column("timestamp")[0].value == 1475713029669794202


@pytest.mark.parametrize("pattern", ["(", "a(?=b)"])
def test_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(ConfigError, match="RE2"):
        Joiner(Multiline(start=pattern), "lines", nothing)
