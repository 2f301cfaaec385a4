"""The collector's gRPC end: connections of senders, fed into one sink's receiver core."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from qanat import limits
from qanat.batch import Batch
from qanat.delivery.receiver_messages import (
    BatchReceived,
    ConnectionLost,
    Event,
    HelloReceived,
    OpenReceived,
    ReleaseReceived,
    RetireReceived,
)
from qanat.errors import CorruptError, RetryableError
from qanat.rpc import options
from qanat.rpc.codec import decode_batch
from qanat.rpc.options import DELIVER, PROTOCOL, server_options
from qanat.wire.v1 import delivery_pb2 as wire

log = structlog.get_logger(__name__)

# Payload received and not yet appended: what a slow disk may make a collector hold in memory, over all connections.
QUEUE_BYTES_MAX = 16 * limits.MIB

# Messages to one sender that it has not taken: acks are cumulative and few, so this many means that it is stuck.
OUTBOX_MESSAGES_MAX = 10_000


@dataclass(slots=True)
class Connection:
    """One sender's stream: what is to be said to it, in order; None ends it."""

    number: int
    peer: str
    outbox: deque[bytes | None] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, message: wire.ToAgent | None) -> None:
        """Queue a message, or the end. *Thread*: the event loop."""
        self.outbox.append(None if message is None else message.SerializeToString())
        self.ready.set()


class Ingest:
    """A gRPC server for one sink. `handle(event, batch)` is the receiver's; `wait_for_room` holds readers back."""

    def __init__(
        self,
        address: str,
        handle: Callable[[Event, Batch | None], None],
        wait_for_room: Callable[[int], Any],
    ) -> None:
        self.address = address
        self.port = 0
        self._handle = handle
        self._wait_for_room = wait_for_room
        self._connections: dict[int, Connection] = {}
        self._last = 0
        self._server = grpc.aio.server(options=server_options(), maximum_concurrent_rpcs=None)

    async def start(self) -> None:
        """Listen. Raises RetryableError when the address can't be had now."""
        handler = grpc.stream_stream_rpc_method_handler(self._deliver)
        _, service, method = DELIVER.split("/")
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
        try:
            self.port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise RetryableError(
                f"can't listen on {self.address}: the address is taken or not of this host. Stop what listens there "
                "(ss -ltnp), or give collectorSource another port"
            ) from error
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """End every connection, after what is queued was said or `grace_s` passed."""
        for connection in self._connections.values():
            connection.say(None)
        await self._server.stop(grace_s)

    def connection(self, number: int) -> Connection | None:
        """The connection, if it still stands."""
        return self._connections.get(number)

    async def _deliver(self, _: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._last += 1
        connection = Connection(self._last, context.peer())
        self._connections[connection.number] = connection
        log.info("sender_connected", connection=connection.number, peer=connection.peer)
        reading = asyncio.create_task(self._read(connection, context))
        writing = asyncio.create_task(self._write(connection, context))
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._connections[connection.number]
            self._handle(ConnectionLost(connection.number), None)
            reading.cancel()
            writing.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
            log.info("sender_disconnected", connection=connection.number, peer=connection.peer)

    async def _read(self, connection: Connection, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while (data := await context.read()) is not grpc.aio.EOF:
            try:
                message = wire.ToCollector.FromString(data)
            except DecodeError as error:
                log.warning("message_undecodable", peer=connection.peer, bytes=len(data), error=str(error))
                return
            del data
            await self._wait_for_room(QUEUE_BYTES_MAX)
            if not self._take(connection, message):
                return

    def _take(self, connection: Connection, message: wire.ToCollector) -> bool:
        """One message; False when the connection must end."""
        number = connection.number
        match message.WhichOneof("message"):
            case "batch":
                self._take_batch(number, message.batch, message.rewinds)
            case "hello":
                hello = message.hello
                if hello.protocol != PROTOCOL or not hello.sender or not hello.instance:
                    log.warning(
                        "hello_refused", peer=connection.peer, protocol=hello.protocol, sender=hello.sender
                    )
                    return False
                self._handle(
                    HelloReceived(
                        number, hello.sender, hello.instance, hello.instance_epoch, hello.ack_on_receipt
                    ),
                    None,
                )
            case "open":
                self._handle(OpenReceived(number, dict(message.open.positions)), None)
            case "retire":
                self._handle(RetireReceived(number, tuple(message.retire.streams)), None)
            case "release":
                self._handle(ReleaseReceived(number), None)
            case other:
                log.warning("message_unknown", peer=connection.peer, message=other)
        return True

    def _take_batch(self, number: int, message: wire.Batch, rewinds: int) -> None:
        batch, corrupt = None, False
        try:
            batch = decode_batch(message)
        except CorruptError as error:
            corrupt = True
            log.error("batch_corrupt", error=str(error))
        size = 0 if batch is None else batch.payload_bytes
        received = BatchReceived(number, message.stream, message.start, message.end, size, corrupt, rewinds)
        self._handle(received, batch)

    async def _write(self, connection: Connection, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        while True:
            if not await _set_within(connection.ready, options.HEARTBEAT_S):
                connection.say(wire.ToAgent(ack=wire.Ack()))
            connection.ready.clear()
            if len(connection.outbox) > OUTBOX_MESSAGES_MAX:
                log.warning("sender_does_not_read", peer=connection.peer, messages=len(connection.outbox))
                return
            while connection.outbox:
                data = connection.outbox.popleft()
                if data is None:
                    return
                await context.write(data)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for it; False when it takes longer."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
