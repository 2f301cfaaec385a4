"""The service Publish on gRPC, on an event loop and thread of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import grpc

from agent.live.loop import LoopThread
from agent.published.columns import WrongMessageError, events
from agent.published.producers import NAME, Producer, Producers
from qanat import limits
from qanat.clock import Clock
from qanat.component import Inlet, Parcel
from qanat.wire.v1 import publish_pb2 as wire

PROTOCOL = 1
SERVICE, METHOD = "qanat.v1.Publish", "Publish"

# The largest message: a batch, and the numbers, times and names beside its bodies.
MESSAGE_BYTES_MAX = limits.BATCH_BYTES_MAX + limits.MIB

# A peer that connects says who it is at once.
HELLO_S_MAX = 10.0

Refused: TypeAlias = tuple[grpc.StatusCode, str]
Context: TypeAlias = Any  # grpc.aio.ServicerContext, which has no types


# An acknowledgement that is being written when a call ends.
CLOSE_S_MAX = 1.0


class _Connection:
    """One call of a producer: what it is to be told."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self.is_over = False
        self.why: Refused | None = None

    def end(self, why: Refused | None) -> None:
        """Nothing more is told."""
        self.is_over, self.why = True, self.why or why
        self.news.set()


class PublishService:
    """*Thread*: the loop's."""

    def __init__(
        self,
        producers: Producers,
        thread: LoopThread,
        clock: Clock,
        count: Callable[[str, int], None],
        attributes: Mapping[str, str],
    ) -> None:
        self._producers = producers
        self._thread = thread
        self.inlet: Inlet | None = None  # before a server starts
        self._clock = clock
        self._count = count
        self._attributes = attributes
        self._readers: set[asyncio.Task[Any]] = set()
        self._connections: set[_Connection] = set()
        self._forgetting: asyncio.Task[None] | None = None
        self._is_stopping = False

    def handler(self) -> Any:
        """For a server of gRPC."""
        method = grpc.stream_stream_rpc_method_handler(
            self._publish,
            request_deserializer=_parsed,
            response_serializer=wire.ToProducer.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def stop(self) -> None:
        """Take nothing more; what was taken is still acknowledged."""
        self._is_stopping = True
        for task in self._readers:
            task.cancel()
        if self._readers:
            await asyncio.wait(self._readers)

    async def close(self) -> None:
        """Acknowledge nothing more."""
        for each in self._connections:
            each.end(_STOPS)

    def begin_forgetting(self, oldest_ns: int) -> None:
        """Producers that were not there since then."""
        self._forgetting = asyncio.create_task(self._forget_unseen(oldest_ns))

    async def _forget_unseen(self, oldest_ns: int) -> None:
        for each in self._producers.unseen(oldest_ns):
            self._producers.forget(each)
            await self._offer(Parcel(None, 0, stream=each.stream))

    async def _publish(self, requests: Any, context: Context) -> None:
        hello = await self._hello(context)
        if self._is_stopping:
            await context.abort(*_STOPS)
        producer, ended = self._producers.hello(hello.producer, hello.next, self._clock.wall_ns())
        if producer is None:
            self._count("producers_refused", 1)
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too many producers are remembered; connect again later"
            )
            raise AssertionError
        if ended:
            await self._offer(Parcel(None, 0, stream=ended))
        connection = _Connection()
        if isinstance(producer.connection, _Connection):
            producer.connection.end(_SUPERSEDED)
        producer.connection = connection
        attributes = {**self._attributes, **dict(hello.attributes)}
        self._connections.add(connection)
        telling = asyncio.create_task(self._tell(producer, connection, context))
        reading = asyncio.create_task(self._read(producer, connection, context, attributes))
        self._readers.add(reading)
        try:
            await asyncio.wait((reading, telling), return_when=asyncio.FIRST_COMPLETED)
            if reading.cancelled():  # the source stops: what was taken is acknowledged until it closes
                await asyncio.wait((telling,))
            connection.end(None)
            await asyncio.wait((telling,), timeout=CLOSE_S_MAX)  # two writes at a time are an error
            refusal = telling.result() if telling.done() else None
            if reading.done() and not reading.cancelled():
                refusal = reading.result() or refusal
            if refusal is not None:
                await context.abort(*refusal)
        finally:
            telling.cancel()
            reading.cancel()
            self._readers.discard(reading)
            self._connections.discard(connection)
            if producer.connection is connection:
                producer.connection = None

    async def _hello(self, context: Context) -> wire.ProducerHello:
        try:
            message = await asyncio.wait_for(context.read(), HELLO_S_MAX)
        except TimeoutError:
            message = None
        hello = message.hello if isinstance(message, wire.FromProducer) else wire.ProducerHello()
        why = ""
        if not isinstance(message, wire.FromProducer) or message.WhichOneof("message") != "hello":
            why = "the first message is no hello"
        elif hello.protocol != PROTOCOL:
            why = f"protocol {hello.protocol} is not known here, {PROTOCOL} is"
        elif not re.fullmatch(NAME, hello.producer):
            why = "a producer's name is 1 to 128 of letters, digits, and -._:"
        elif hello.next > limits.POSITION_MAX:
            why = f"the last number is {limits.POSITION_MAX}"
        elif (
            sum(len(name) + len(value) for name, value in hello.attributes.items())
            > limits.ATTRIBUTES_BYTES_MAX
        ):
            why = f"attributes have more than {limits.ATTRIBUTES_BYTES_MAX} bytes"
        if why:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, why)
        return hello

    async def _read(
        self, producer: Producer, connection: _Connection, context: Context, attributes: Mapping[str, str]
    ) -> Refused | None:
        """Until the peer is done; why it is refused, if it is."""
        while True:
            message = await context.read()
            if message is grpc.aio.EOF:
                return None
            if not isinstance(message, wire.FromProducer):
                return grpc.StatusCode.INVALID_ARGUMENT, "a message that is none of this service"
            if connection.is_over:
                return connection.why
            match message.WhichOneof("message"):
                case "events":
                    try:
                        await self._take(producer, message, attributes)
                    except WrongMessageError as error:
                        self._count("messages_rejected", 1)
                        return grpc.StatusCode.INVALID_ARGUMENT, str(error)
                case "finish":
                    if producer.safe < producer.received:
                        return grpc.StatusCode.INVALID_ARGUMENT, "finish before everything was acknowledged"
                    self._producers.forget(producer)
                    await self._offer(Parcel(None, 0, stream=producer.stream))
                    return None
                case _:
                    return grpc.StatusCode.INVALID_ARGUMENT, "a second hello, or an empty message"

    async def _take(
        self, producer: Producer, message: wire.FromProducer, attributes: Mapping[str, str]
    ) -> None:
        """Raises WrongMessageError."""
        start, end = message.events.start, message.events.start + len(message.events.body)
        if start > producer.received:
            raise WrongMessageError(f"events begin at {start}, wanted next is {producer.received}")
        if start < producer.base or end <= producer.received:
            return  # was received already, and is acknowledged with the rest
        made = events(message.events, attributes)
        size_bytes = min(max(message.ByteSize(), made.payload.nbytes), limits.BATCH_BYTES_MAX)  # type: ignore[union-attr]
        await self._offer(
            Parcel(
                made,
                size_bytes,
                lambda safe: self._thread.post(self._settled, producer, end, safe),
                producer.stream,
                start - producer.base,
            )
        )
        producer.received = max(producer.received, end)

    async def _offer(self, parcel: Parcel) -> None:
        """As soon as there is room; the peer is not read meanwhile."""
        assert self.inlet is not None
        while not self.inlet.offer(parcel):
            room = asyncio.Event()
            self.inlet.when_room(partial(self._thread.post, room.set))
            await room.wait()

    def _settled(self, producer: Producer, end: int, safe: bool) -> None:
        if safe:
            producer.safe = max(producer.safe, end)
        if isinstance(producer.connection, _Connection):
            producer.connection.news.set()

    async def _tell(self, producer: Producer, connection: _Connection, context: Context) -> Refused | None:
        """How far it is safe, each time that moves."""
        await context.write(wire.ToProducer(next=producer.received))
        told = producer.base
        while not connection.is_over:
            connection.news.clear()
            if producer.safe > told:
                told = producer.safe
                await context.write(wire.ToProducer(next=told))
            else:
                await connection.news.wait()
        return connection.why


_STOPS = (grpc.StatusCode.UNAVAILABLE, "the agent stops; connect again")
_SUPERSEDED = (grpc.StatusCode.ABORTED, "another connection of this producer has taken over")


def _parsed(data: bytes) -> wire.FromProducer | None:
    """None: it is none. What a deserializer raises would be logged with a traceback for each."""
    try:
        message: wire.FromProducer = wire.FromProducer.FromString(data)
        return message
    except Exception:  # noqa: BLE001  # DecodeError, of whichever implementation there is
        return None
