"""Messages of Kafka as columns: what is found for messages that are alike is what is found for any."""

from __future__ import annotations

from collections import deque
from typing import Any

from confluent_kafka import Message
from hypothesis import example, given
from hypothesis import strategies as st

from agent.kafka.columns import columns_of
from agent.kafka.messages import sorted_out, take

NAMES = st.sampled_from(("a", "b", "body", "key", ""))
VALUES = st.sampled_from((None, b"", b"v", b"\xff", "ü".encode()))
HEADERS = st.none() | st.lists(st.tuples(NAMES, VALUES), max_size=3)
MESSAGES = st.lists(st.tuples(VALUES, VALUES, HEADERS, st.sampled_from((-1, 0, 5, 1 << 62))), min_size=1, max_size=5)  # fmt: skip
COLUMNS = {"a": "a", "b": "b", "body": "header.body", "key": "header.key", "": "header."}


def made(messages: list[tuple[Any, Any, Any, int]], partition: int = 0) -> list[Message]:
    return [
        Message(
            topic="t",
            partition=partition,
            offset=offset,
            key=key,
            value=value,
            headers=headers,
            timestamp=(1, time_ms),
        )
        for offset, (value, key, headers, time_ms) in enumerate(messages)
    ]


def texts(key: bytes | None, headers: list[tuple[str, bytes | None]] | None) -> dict[str, str | None]:
    """What a message says, by the names of columns."""
    said = {"key": key} | {COLUMNS[name]: value for name, value in headers or ()}
    return {name: None if value is None else value.decode(errors="replace") for name, value in said.items()}


@given(MESSAGES)
@example([(b"x", b"k", [("a", b"1"), ("b", b"2")], 5)] * 3)
@example([(b"x", None, [("a", b"1"), ("a", b"2")], 5)] * 3)
@example([(b"x", b"k", [("a", b"1")], 5), (b"x", b"k", [("a", b"1")] * 3, 5)])
def test_each_row_is_a_message(messages: list[tuple[Any, Any, Any, int]]) -> None:
    found = columns_of(made(messages), 100, lambda name, n: None)
    found.validate(full=True)
    assert found.column("body").to_pylist() == [value or b"" for value, _, _, _ in messages]
    assert found.column("position").to_pylist() == list(range(len(messages)))
    times_ms = [time_ms if 0 <= time_ms < 1 << 40 else None for _, _, _, time_ms in messages]
    times_ns = found.column("timestamp").cast("int64").to_pylist()
    assert times_ns == [None if ms is None else ms * 1_000_000 for ms in times_ms]
    wanted = [texts(key, headers) for _, key, headers, _ in messages]
    names = {
        name
        for each in wanted
        for name in each
        if name != "key" or any(row["key"] is not None for row in wanted)
    }
    assert set(found.schema.names) == {"body", "position", "timestamp", *names}
    for name in names:
        assert found.column(name).to_pylist() == [each.get(name) for each in wanted]


def test_as_many_are_taken_as_fit_and_one_at_least() -> None:
    waiting = deque(made([(b"x" * size, None, None, 0) for size in (10, 5, 5, 1)]))
    assert [len(each) for each in take(waiting, 9)] == [10]
    assert [len(each) for each in take(waiting, 10)] == [5, 5]
    assert [len(each) for each in take(waiting, 10)] == [1]


def test_messages_before_what_is_wanted_are_left_out_and_those_of_nobody() -> None:
    first, second, third = (made([(b"x", None, None, 0)] * 4, partition) for partition in (0, 1, 2))
    found = [*sorted_out([*first[:2], *second, *first[2:], *third], {0: 1, 1: 4, 3: 0})]
    assert found == [(0, first[1:2]), (0, first[2:])]
