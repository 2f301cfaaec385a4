"""Requests of the source `avro` whose events are read all at once: as those that are read one by one, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.avro import datum
from agent.avro.alike import events_alike
from agent.avro.datum import Reader, Received, many_events
from qanat import limits
from qanat.errors import CorruptError
from tests.unit.agent.avro_client import EVENTS
from tests.unit.agent.avro_client import datum as encoded

Event = tuple[bytes, Mapping[str, str]]

# Few letters, so that names are found in values and bodies; lengths of one byte and of two.
NAMES = st.lists(st.text("ab\0", max_size=3), max_size=4, unique=True)
VALUES = st.one_of(st.text("ab\0\2é", max_size=6), st.integers(60, 66).map(lambda size: "v" * size))
BODIES = st.one_of(st.binary(max_size=6), st.integers(60, 66).map(lambda size: b"b" * size))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Events with the same headers, here and there damaged."""
    names = draw(NAMES)
    events = [
        (draw(BODIES), dict(zip(names, draw(st.lists(VALUES, min_size=len(names))), strict=False)))
        for _ in range(draw(st.integers(0, 5)))
    ]
    data = bytearray(written(events))
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.sampled_from(b"\0\1\2\3\4ab\x80\xff"))
    return bytes(data) + draw(st.sampled_from((b"", b"", b"", b"\0", b"a")))


def written(events: Sequence[Event]) -> bytes:
    return encoded(EVENTS, [{"headers": headers, "body": body} for body, headers in events])


def rows(found: Received) -> tuple[object, ...]:
    found.bodies.validate(full=True)
    for values in found.headers.values():
        values.validate(full=True)
    headers = {name: values.to_pylist() for name, values in found.headers.items()}
    return found.bodies.to_pylist(), headers, found.size_bytes


def one_by_one(data: bytes) -> tuple[object, ...] | None:
    try:
        return rows(many_events(Reader(data)))
    except CorruptError:
        return None


@settings(max_examples=300)
@given(requests())
@example(written([]))
@example(b"\4" + b"\2\2a\2b\0\2c" * 2 + b"\0")
@example(b"\4" + b"\2\2a\2\xff\0\2c" * 2 + b"\0")
@example(b"\4" + b"\2\2a\2b\0\2c" + b"\2\2a\2b\2\2a\2x\0\2c" + b"\0")  # a second block of headers
@example(b"\3\x0c" + b"\2\2a\2b\0\2c" * 2 + b"\0")  # a block that says its size
@example(b"\2" + b"\2\2a\2b\0\2c" + b"\2" + b"\2\2a\2b\0\2c" + b"\0")  # a second block of events
@example(b"\4" + b"\2\2a\x82\0b\0\2c" * 2 + b"\0")  # a length that is longer than it must be
def test_what_is_read_at_once_is_what_is_read_one_by_one(data: bytes) -> None:
    reader = Reader(data)
    found = events_alike(reader)
    if found is None:
        assert reader.at == 0
    else:
        assert reader.at == len(data)
        assert rows(found) == one_by_one(data)


@pytest.mark.parametrize(
    "headers",
    [
        {"timestamp": "1700000000000", "host": "h", "app": "shop"},
        {"host": "h" * 200, "": "x", "é": "ü"},
        {},
        {f"name{n}": "v" for n in range(20)},
    ],
)
@pytest.mark.parametrize("body", [b"x", b"line", b"x" * 63, b"x" * 64, b"x" * 9000, b"timestamp"])
def test_requests_of_clients_are_read_at_once(headers: dict[str, str], body: bytes) -> None:
    data = written([(body + b"%d" % n, headers) for n in range(30)])
    found = events_alike(Reader(data))
    assert found is not None
    assert rows(found) == one_by_one(data)


def test_what_is_not_utf8_gets_replacement_characters() -> None:
    found = events_alike(Reader(b"\4" + b"\2\2\xff\4\xfeb\0\2c" * 2 + b"\0"))
    assert found is not None
    assert rows(found) == ([b"c", b"c"], {"�": ["�b", "�b"]}, 20)


@pytest.mark.parametrize(
    "data",
    [
        written([(b"x", {"a": "v" * limits.ATTRIBUTES_BYTES_MAX})] * 2),
        written([(b"x", {f"{n:x}": "v" for n in range(datum.NAMES_MAX + 1)})] * 2),
        written([(b"x", {"a": "v"})] * (datum.EVENTS_MAX + 1)),
    ],
    ids=("headers' bytes", "names", "events"),
)
def test_limits_are_those_of_reading_one_by_one(data: bytes) -> None:
    assert events_alike(Reader(data)) is None
    assert one_by_one(data) is None
