"""The source `grpc` and its client: what is acknowledged, and that a repetition is taken once."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.published.columns import WrongMessageError, events
from agent.published.producers import Producers
from agent.pushed import NUMBERED_PREFIX, PushedFeed
from qanat.client import Publisher
from qanat.client.publisher import METHOD
from qanat.component import Cursor
from qanat.metrics import Metrics
from qanat.wire.v1 import publish_pb2 as wire
from tests.unit.agent.live import until
from tests.unit.agent.scripted import Shelf, context
from tests.unit.agent.test_made_sources import made


class Agent:
    """A source `grpc`, and a shelf as its channel that outlives it."""

    def __init__(self, directory: Path, shelf: Shelf, port: int = 0, described: str = "") -> None:
        self.shelf = shelf
        self.source = made(described or f'grpc({port}, host="127.0.0.1")', context(directory))
        self.feed = PushedFeed(
            self.source, shelf, [Cursor("web")], self.source.context, Metrics().agent("web")
        )
        assert self.feed.open()
        self.port = self.source.port
        self._thread = threading.Thread(target=self.feed.run)
        self._thread.start()

    def stop(self) -> None:
        self.feed.stop()
        self._thread.join()
        self.feed.close()


@contextlib.contextmanager
def serving(directory: Path, shelf: Shelf, port: int = 0) -> Iterator[Agent]:
    agent = Agent(directory, shelf, port)
    try:
        yield agent
    finally:
        agent.stop()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(context(tmp_path))


def bodies(shelf: Shelf) -> list[bytes]:
    return [body for each in shelf.batches for body in each.payload.column("body").to_pylist()]  # type: ignore[union-attr]


def hello(next_: int = 0, producer: str = "p", protocol: int = 1) -> wire.FromProducer:
    return wire.FromProducer(hello=wire.ProducerHello(protocol=protocol, producer=producer, next=next_))


def said(start: int, *body: bytes, **more: Any) -> wire.FromProducer:
    return wire.FromProducer(events=wire.Events(start=start, body=body, **more))


FINISH = wire.FromProducer(finish=wire.Finish())


def talk(port: int, *messages: wire.FromProducer, wanted: int | None = None) -> list[int] | grpc.StatusCode:
    """What the agent answers until it has acknowledged `wanted`, or why it ends the call."""
    heard: list[int] = []
    done = threading.Event()

    def say() -> Iterator[bytes]:
        for message in messages:
            yield message.SerializeToString()
        done.wait(20)

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(METHOD)(say())
        try:
            for reply in call:
                heard.append(wire.ToProducer.FromString(reply).next)
                if heard[-1] == wanted:
                    break
        except grpc.RpcError as error:
            return error.code()
        finally:
            done.set()
            call.cancel()
    return heard


def test_events_are_acknowledged_and_have_their_columns(tmp_path: Path, shelf: Shelf) -> None:
    columns = [wire.Column(name="app", value=["shop"]), wire.Column(name="user", value=["ann", ""])]
    with serving(tmp_path, shelf) as agent:
        assert talk(
            agent.port, hello(), said(0, b"a\n", b"b", timestamp_ns=[5000, 0], columns=columns), wanted=2
        ) == [0, 2]
    (batch,) = shelf.batches
    first, second = batch.payload.to_pylist()  # type: ignore[union-attr]
    assert (first["body"], first["app"], first["user"], first["timestamp"].microsecond) == (
        b"a\n",
        "shop",
        "ann",
        5,
    )
    assert (second["body"], second["app"], second["user"], second["timestamp"]) == (b"b", "shop", None, None)
    assert batch.attributes == {"host": "host"}


def test_repetition_is_taken_once_also_by_the_next_agent(tmp_path: Path, shelf: Shelf) -> None:
    with serving(tmp_path, shelf) as agent:
        heard = talk(
            agent.port, hello(), said(0, b"a", b"b"), said(0, b"a", b"b"), said(1, b"b", b"c"), wanted=3
        )
        assert heard in ([0, 2, 3], [0, 3])  # an answer may be for several messages
    assert bodies(shelf) == [b"a", b"b", b"c"]
    with serving(tmp_path, shelf) as agent:
        assert talk(agent.port, hello(0), said(0, b"a", b"b"), said(2, b"c", b"d"), wanted=4)[0] == 3  # type: ignore[index]
    assert bodies(shelf) == [b"a", b"b", b"c", b"d"]
    assert shelf.known == {f"{NUMBERED_PREFIX}p/0": 4}


def test_producer_that_knows_more_than_the_agent_goes_on_there(tmp_path: Path, shelf: Shelf) -> None:
    with serving(tmp_path, shelf) as agent:
        assert talk(agent.port, hello(0), said(0, b"a"), wanted=1) == [0, 1]
        assert talk(agent.port, hello(7), said(7, b"h"), wanted=8) == [7, 8]
    assert shelf.known == {f"{NUMBERED_PREFIX}p/7": 1}
    with serving(tmp_path, shelf) as agent:
        assert talk(agent.port, hello(7), wanted=8) == [8]


def test_producer_that_ends_is_forgotten(tmp_path: Path, shelf: Shelf) -> None:
    with serving(tmp_path, shelf) as agent:
        assert talk(agent.port, hello(0), said(0, b"a"), wanted=1) == [0, 1]
        assert talk(agent.port, hello(1), FINISH)[0] == 1  # type: ignore[index]
        until(lambda: not shelf.known)
        assert talk(agent.port, hello(0), wanted=0) == [0]


@pytest.mark.parametrize(
    "messages",
    [
        [said(0, b"a")],
        [FINISH],
        [hello(protocol=2)],
        [hello(producer="")],
        [hello(producer="a b")],
        [hello(1 << 62)],
        [hello(), hello()],
        [hello(), said(1, b"a")],
        [hello(), said(0, b"a" * ((1 << 20) + 1))],
        [hello(), said(0, b"a", timestamp_ns=[1, 2])],
        [hello(), said(0, b"a", timestamp_ns=[1 << 63])],
        [hello(), said(0, b"a", columns=[wire.Column(name="body", value=["x"])])],
        [hello(), said(0, b"a", columns=[wire.Column(name="x", value=["x", "y"])])],
        [hello(), said(0, b"a", columns=[wire.Column(name="x", value=["x"])] * 2)],
        [hello(), said(0, b"a", columns=[wire.Column(name=f"{n}", value=["x"]) for n in range(300)])],
    ],
)
def test_wrong_message_is_refused_and_nothing_of_it_taken(
    tmp_path: Path, shelf: Shelf, messages: list[wire.FromProducer]
) -> None:
    with serving(tmp_path, shelf) as agent:
        assert talk(agent.port, *messages) is grpc.StatusCode.INVALID_ARGUMENT
        assert talk(agent.port, hello(producer="q"), said(0, b"after"), wanted=1) == [0, 1]
    assert bodies(shelf) == [b"after"]


def test_bytes_that_are_no_message_end_their_call_alone(tmp_path: Path, shelf: Shelf) -> None:
    with serving(tmp_path, shelf) as agent, grpc.insecure_channel(f"127.0.0.1:{agent.port}") as channel:
        with pytest.raises(grpc.RpcError):
            list(channel.stream_stream(METHOD)(iter([b"\xff\xff garbage"])))
        assert talk(agent.port, hello(), said(0, b"after"), wanted=1) == [0, 1]


def test_publisher_delivers_in_order_and_ends(tmp_path: Path, shelf: Shelf) -> None:
    sent = [b"%d" % number for number in range(5000)]
    with serving(tmp_path, shelf) as agent:
        with Publisher(f"127.0.0.1:{agent.port}", attributes={"app": "shop"}) as publisher:
            assert all(publisher.send(each, attributes={"n": "1"}) for each in sent)
            assert publisher.flush(20)
        until(lambda: not shelf.known)
    assert bodies(shelf) == sent
    assert shelf.batches[0].attributes["app"] == "shop"
    with pytest.raises(ValueError, match="closed"):
        publisher.send(b"x")


def test_publisher_repeats_to_the_next_agent_what_was_not_acknowledged(tmp_path: Path, shelf: Shelf) -> None:
    with serving(tmp_path, shelf) as agent:
        publisher = Publisher(f"127.0.0.1:{agent.port}", batch_events=1)
        publisher.send("a")
        assert publisher.flush(20)
    publisher.send("b")
    assert not publisher.flush(0.05)
    with serving(tmp_path, shelf, agent.port):
        assert publisher.flush(20)
        assert publisher.close() == 0
    assert bodies(shelf) == [b"a", b"b"]


def test_publisher_with_a_full_buffer_drops_or_waits() -> None:
    dropping = Publisher("127.0.0.1:1", buffer_bytes=1000, full="drop")
    assert [dropping.send(b"x" * 300) for _ in range(3)] == [True, True, False]
    assert (dropping.dropped, dropping.close(0.1)) == (1, 2)
    waiting = Publisher("127.0.0.1:1", buffer_bytes=1000)
    assert [waiting.send(b"x" * 300, timeout_s=0.05) for _ in range(3)] == [True, True, False]
    assert waiting.close(0.1) == 2


def test_publisher_in_the_child_of_a_fork_is_another_one() -> None:
    with Publisher("127.0.0.1:1", full="drop") as publisher:
        mine = publisher._producer
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, f"{publisher._producer != mine} {publisher._outbox.end}".encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"True 0"
        os.close(reading)
        os.close(writing)


def test_producers_are_forgotten_by_age_and_earlier_streams_with_them() -> None:
    producers = Producers()
    kept = producers.recover(
        {"old/0": 3, "new/0": 3, "new/10": 2, "unknown/0": 1}, {"old": 5, "new": 50}, 10, 60
    )
    assert sorted(kept) == ["new/10", "unknown/0"]
    found, ended = producers.hello("new", 12, 60)
    assert (found is not None and found.received, ended) == (12, "")


MESSAGES = st.builds(
    wire.Events,
    start=st.integers(0, (1 << 64) - 1),
    body=st.lists(st.binary(max_size=5), max_size=4),
    timestamp_ns=st.lists(st.integers(0, (1 << 64) - 1), max_size=4),
    columns=st.lists(
        st.builds(
            wire.Column,
            name=st.sampled_from(["a", "", "body"]) | st.text(max_size=2),
            value=st.lists(st.text(max_size=2), max_size=4),
        ),
        max_size=3,
    ),
)


@settings(deadline=None)
@given(MESSAGES)
def test_no_message_fails_otherwise_than_as_wrong(message: wire.Events) -> None:
    try:
        found = events(message, {})
    except WrongMessageError:
        return
    assert found.payload.column("body").to_pylist() == list(message.body)  # type: ignore[union-attr]
