"""The shell around the sender core: what it asks of the source before it tells a collector anything."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from agent import delivery as shell
from qanat.batch import Batch, lines_batch
from qanat.component import Context, Cursor, Source, StreamEvent, StreamFinished, StreamFound
from qanat.delivery import sender_messages as m
from qanat.delivery.sender import SenderCore
from qanat.errors import RetryableError
from qanat.metrics import Metrics
from qanat.wire.v1 import delivery_pb2 as wire
from tests.unit.agent.scripted import Shelf, batch

Run = Callable[[Coroutine[Any, Any, None]], None]


class Short(Source):
    """Streams of one line each, finished at once; the first `failures` saves fail."""

    name = "short"
    Config = msgspec.Struct

    def __init__(self, context: Context, streams: int, failures: int) -> None:
        super().__init__(None, context)
        self.news: list[StreamEvent] = [StreamFound(f"s{number}", 0) for number in range(streams)]
        self.readable: list[str] = []
        self.failures = failures
        self.is_settled = False
        self.polled = threading.Event()
        self.log: list[str] = []

    def open(self) -> None: ...

    def recover(self, known: Mapping[str, int]) -> None:
        self.log.append("recover")

    def knows_its_streams(self) -> bool:
        return self.is_settled

    def poll(self, timeout_s: float) -> list[StreamEvent]:
        self.log.append("poll")
        self.polled.set()
        found = [event for event in self.news if isinstance(event, StreamFound)]
        told = found or self.news[:1]
        del self.news[: len(told)]
        return told

    def seek(self, stream: str, position: int) -> None:
        self.readable.append(stream)

    def read(self, max_bytes: int) -> Batch | None:
        if not self.readable:
            return None
        stream = self.readable.pop()
        self.news.append(StreamFinished(stream, 2))
        return lines_batch(stream, 0, b"x\n", timestamp_ns=0, attributes={})

    def acknowledge(self, positions: Mapping[str, int]) -> None:
        self.log.append("acknowledge")

    def save(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RetryableError("disk full")
        self.log.append("save")

    def wake(self) -> None: ...

    def lag_bytes(self) -> int:
        return 0

    def close(self) -> None: ...


class Collector:
    """Answers like one that commits everything at once. Takes the place of `Connection`."""

    source: ClassVar[Short]
    opened: ClassVar[list[int]]
    hellos: ClassVar[asyncio.Queue[bool]]
    retired: ClassVar[asyncio.Queue[tuple[str, ...]]]
    has_room = True

    def __init__(
        self, number: int, destination: str, handle: Callable[[m.Event], None], on_room: Callable[[], None]
    ) -> None:
        self.number = number
        self._say = lambda event: asyncio.get_running_loop().call_soon(handle, event)
        self._say(m.Connected(number))

    def send(self, message: wire.ToCollector) -> None:
        match message.WhichOneof("message"):
            case "hello":
                self.hellos.put_nowait(message.hello.ack_on_receipt)
                self._say(m.Welcomed(self.number, 1, {}, 1 << 20))
            case "open":
                self.opened.append(len(message.open.positions))
                self._say(m.OpenedAt(self.number, dict(message.open.positions)))
            case "retire":
                self.source.log.append("retire")
                self.retired.put_nowait(tuple(message.retire.streams))

    def send_batch(self, data: bytes) -> None:
        batch = wire.ToCollector.FromString(data).batch
        self._say(m.Acked(self.number, {batch.stream: batch.end}))

    async def close(self) -> None: ...


@pytest.fixture
def deliver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Start a delivery of a Short source: (streams, failures) -> (source, retired, end)."""

    async def start(streams: int, failures: int = 0) -> tuple[Short, Any, Callable[[], Any]]:
        context = Context("agent", "logical", "host", tmp_path)
        source = Short(context, streams, failures)
        Collector.source, Collector.opened, Collector.retired = source, [], asyncio.Queue()
        Collector.hellos = asyncio.Queue()
        monkeypatch.setattr(shell, "Connection", Collector)
        core = SenderCore("agent/logical", "instance", ("collector:1",))
        delivery = shell.Delivery(core, source, context, Metrics().agent("logical"))
        task = asyncio.create_task(delivery.run())

        async def end() -> None:
            delivery.stop()
            await task

        return source, Collector.retired, end

    return start


def test_delivery_lets_a_collector_forget_a_stream_when_the_source_has_saved(run: Run, deliver: Any) -> None:
    async def scenario() -> None:
        source, retired, end = await deliver(1)
        assert await retired.get() == ("s0",)
        assert source.log.index("save") < source.log.index("retire")
        assert "acknowledge" in source.log[: source.log.index("save")]
        await end()

    run(scenario())


def test_delivery_retires_later_when_the_source_can_not_save(run: Run, deliver: Any) -> None:
    async def scenario() -> None:
        source, retired, end = await deliver(2, failures=1)
        assert await retired.get() == ("s0", "s1")
        assert source.log.count("retire") == 1
        await end()

    run(scenario())


def test_delivery_opens_all_streams_of_a_poll_with_one_message(run: Run, deliver: Any) -> None:
    async def scenario() -> None:
        _source, retired, end = await deliver(1000)
        await retired.get()
        assert Collector.opened == [1000]
        await end()

    run(scenario())


@pytest.mark.parametrize("settled", [True, False])
def test_delivery_looks_for_streams_before_a_collector_answers_if_the_source_knows_its_own(
    settled: bool, run: Run, deliver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        answers, answer = Collector.send, asyncio.Event()
        held: list[tuple[Collector, wire.ToCollector]] = []
        monkeypatch.setattr(shell, "LAG_S", 0.01)
        monkeypatch.setattr(Collector, "send", lambda *call: held.append(call) or answer.set())
        source, retired, end = await deliver(1)
        source.is_settled = settled
        await answer.wait()  # said hello, and nobody says welcome
        if settled:
            assert await asyncio.to_thread(source.polled.wait, 30)
        monkeypatch.setattr(Collector, "send", answers)
        for call in held:
            answers(*call)
        assert await retired.get() == ("s0",)
        assert (source.log.index("poll") < source.log.index("recover")) == settled
        await end()

    run(scenario())


@pytest.mark.parametrize("on_receipt", [False, True])
def test_delivery_says_when_it_wants_acks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_receipt: bool
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(shell, "Connection", Collector)
        Collector.hellos = asyncio.Queue()
        source = Short(Context("agent", "logical", "host", tmp_path), 0, 0)
        core = SenderCore("agent/logical", "instance", ("collector:1",), ack_on_receipt=on_receipt)
        delivery = shell.Delivery(core, source, source.context, Metrics().agent("logical"))
        task = asyncio.create_task(delivery.run())
        assert await Collector.hellos.get() is on_receipt
        delivery.stop()
        await task

    run(scenario())


@pytest.mark.parametrize("empty", [False, True])
def test_delivery_empties_a_channel_when_told_to(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: bool
) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(shell, "Connection", Collector)
        Collector.opened, Collector.hellos = [], asyncio.Queue()
        shelf = Shelf(Context("agent", "web", "host", tmp_path))
        shelf.open([Cursor("web")])
        for number in range(100):
            shelf.put(batch("a", 4 * number))
        core = SenderCore("agent/web", "instance", ("collector:1",))
        delivery = shell.Delivery(core, shelf.reader("web"), shelf.context, Metrics().agent("web"))
        delivery.stop(empty=empty)  # before there is a connection
        await delivery.run()
        assert shelf.cursors["web"] == (100 if empty else 0)

    run(scenario())


@pytest.mark.parametrize("when", ["before the collector is lost", "while it is", "when it was sent"])
def test_what_was_read_and_is_not_acked_counts_also_when_its_collector_is_lost(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Two bytes: unacked, until another collector has the source sought back to them."""

    class Silent(Collector):
        made: ClassVar[list[Silent]] = []

        def __init__(self, number: int, destination: str, handle: Callable[..., None], on_room: Any) -> None:
            super().__init__(number, destination, handle, on_room)
            self.made.append(self)
            self.sent = asyncio.Event()

        def send_batch(self, data: bytes) -> None:
            self.sent.set()

    async def scenario() -> None:
        monkeypatch.setattr(shell, "Connection", Silent)
        monkeypatch.setattr(shell, "MEASURE_S", 0.01)
        Collector.opened, Collector.hellos = [], asyncio.Queue()
        reading, go_on = threading.Event(), threading.Event()
        source = Short(Context("agent", "web", "host", tmp_path), 1, 0)
        read = source.read

        def read_slowly(max_bytes: int) -> Batch | None:
            found = read(max_bytes)
            if found is not None:
                reading.set()
                go_on.wait(30)
            return found

        source.read = read_slowly  # type: ignore[method-assign]
        metrics = Metrics()
        core = SenderCore("agent/web", "instance", ("collector:1",))
        delivery = shell.Delivery(core, source, source.context, metrics.agent("web"))
        pause = delivery._pause
        monkeypatch.setattr(delivery, "_pause", lambda attempt: asyncio.sleep(0) if attempt else pause(0))
        task = asyncio.create_task(delivery.run())
        assert await asyncio.to_thread(reading.wait, 30)
        (connection,) = Silent.made  # and no other will be
        if when != "while it is":
            go_on.set()
        if when == "when it was sent":
            await connection.sent.wait()
        connection._say(m.Disconnected(connection.number, "gone"))
        await asyncio.sleep(0.05)
        go_on.set()
        unacked: list[float | None] = []
        while unacked[-1:] != [2.0]:
            await asyncio.sleep(0.01)
            unacked.append(metrics.registry.get_sample_value("qanat_unacked_bytes", {"logical_node": "web"}))
            assert len(unacked) < 1000, unacked
        await asyncio.sleep(0.05)
        assert metrics.registry.get_sample_value("qanat_unacked_age_seconds", {"logical_node": "web"}) > 0
        delivery.stop()
        await task

    run(scenario())


def test_nothing_counts_as_unacked_when_only_the_ack_was_lost_and_the_stream_is_finished(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last stream there is: nothing is sought any more."""

    class Crashing(Collector):
        """Stores a batch and ends before it says so; the next one knows that it is stored."""

        stored: ClassVar[dict[str, int]] = {}

        def send(self, message: wire.ToCollector) -> None:
            if message.WhichOneof("message") == "hello":
                self._say(m.Welcomed(self.number, 1, dict(self.stored), 1 << 20))
            else:
                super().send(message)

        def send_batch(self, data: bytes) -> None:
            batch = wire.ToCollector.FromString(data).batch
            self.stored[batch.stream] = batch.end
            asyncio.get_running_loop().call_later(0.2, self._say, m.Disconnected(self.number, "killed"))

    async def scenario() -> None:
        monkeypatch.setattr(shell, "Connection", Crashing)
        monkeypatch.setattr(shell, "MEASURE_S", 0.01)
        monkeypatch.setattr(shell, "backoff_s", lambda attempt, max_s: 0.2)
        Collector.opened, Collector.retired = [], asyncio.Queue()
        source = Collector.source = Short(Context("agent", "web", "host", tmp_path), 1, 0)
        metrics = Metrics()
        core = SenderCore("agent/web", "instance", ("collector:1",))
        delivery = shell.Delivery(core, source, source.context, metrics.agent("web"))
        task = asyncio.create_task(delivery.run())
        unacked: set[float | None] = set()
        async with asyncio.timeout(30):
            while Collector.retired.empty():
                await asyncio.sleep(0.01)
                unacked.add(metrics.registry.get_sample_value("qanat_unacked_bytes", {"logical_node": "web"}))
        await asyncio.sleep(0.1)
        assert unacked == {0.0, 2.0}
        for name in ("qanat_unacked_bytes", "qanat_unacked_age_seconds"):
            assert metrics.registry.get_sample_value(name, {"logical_node": "web"}) == 0.0
        delivery.stop()
        await task

    run(scenario())


def test_delivery_tries_its_whole_chain_at_once_when_a_collector_may_be_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses between attempts take an hour here."""
    alive: set[str] = set()
    tried: list[str] = []
    pausing = asyncio.Event()

    class Absent(Collector):
        def __init__(
            self,
            number: int,
            destination: str,
            handle: Callable[[m.Event], None],
            on_room: Callable[[], None],
        ) -> None:
            tried.append(destination)
            if destination in alive:
                super().__init__(number, destination, handle, on_room)
            else:
                asyncio.get_running_loop().call_soon(handle, m.Disconnected(number, "nobody listens"))

    def backoff_s(attempt: int, max_s: float) -> float:
        if max_s < shell.RETRY_S_MAX:
            return 0.0
        pausing.set()
        return 3600.0

    monkeypatch.setattr(shell, "Connection", Absent)
    monkeypatch.setattr(shell, "backoff_s", backoff_s)
    monkeypatch.setattr(shell, "HURRY_S_MAX", 0.0)

    async def scenario() -> None:
        Collector.opened, Collector.hellos = [], asyncio.Queue()
        source = Short(Context("agent", "logical", "host", tmp_path), 0, 0)
        core = SenderCore("agent/logical", "instance", ("c1:1", "c2:1", "c3:1"))
        delivery = shell.Delivery(core, source, source.context, Metrics().agent("logical"))
        task = asyncio.create_task(delivery.run())
        await pausing.wait()
        assert tried == ["c1:1", "c2:1", "c3:1"]
        alive.add("c3:1")
        delivery.retry_soon()
        await Collector.hellos.get()
        assert tried[3:] == ["c1:1", "c2:1", "c3:1"]
        delivery.stop()
        await task

    run(scenario())
