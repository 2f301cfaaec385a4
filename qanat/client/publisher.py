"""The publisher: a buffer, a thread that sends it, and connecting again for as long as it takes."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import structlog

from qanat import limits
from qanat.client.outbox import Outbox, cost_bytes
from qanat.rpc.backoff import backoff_s
from qanat.wire.v1 import publish_pb2 as wire

log = structlog.get_logger(__name__)

PROTOCOL = 1
METHOD = "/qanat.v1.Publish/Publish"

# Enough that a batch costs the agent little an event; what gathers for a tenth of a second is worth a message.
BATCH_EVENTS_MAX = 1000
BATCH_BYTES_MAX = 512 * limits.KIB
LINGER_S_MAX = 0.1

# What a program can spare, and an agent that restarts makes it keep: some seconds of 100,000 small events each.
BUFFER_BYTES_MAX = 64 * limits.MIB

# An agent that is away is looked for so often.
RETRY_S_MAX = 5.0

# A program that ends waits so long for the agent.
CLOSE_S_MAX = 10.0

# A connection that gives no first answer for so long is given up: the agent's host is away, or it is another service.
HELLO_S_MAX = 15.0

_OPTIONS = [
    ("grpc.max_send_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]


class Publisher:
    """`target`: `host:port` of an agent's source `grpc`. `attributes`: of all events. `full`: when `buffer_bytes` are not
    acknowledged, `send` waits, or drops its event and counts it. `credentials`: of gRPC, for TLS.

    *Guarantee*: what is sent is stored once and in order, as long as this process lives and `full` is block; nothing of it is
    on disk here. `flush` says when it is in the agent's channel. Stay with one agent: each remembers numbers for itself."""

    def __init__(
        self,
        target: str,
        *,
        attributes: Mapping[str, str] | None = None,
        batch_events: int = BATCH_EVENTS_MAX,
        batch_bytes: int = BATCH_BYTES_MAX,
        linger_s: float = LINGER_S_MAX,
        buffer_bytes: int = BUFFER_BYTES_MAX,
        full: Literal["block", "drop"] = "block",
        credentials: Any = None,
    ) -> None:
        if not 1 <= batch_bytes <= 2 * limits.MIB or batch_events < 1 or buffer_bytes < 1:
            raise ValueError("batch_bytes is from 1 to 2 MiB, batch_events and buffer_bytes are 1 at least")
        self._target = target
        self._attributes = {"host": socket.gethostname(), **(attributes or {})}
        self._batches = (batch_events, batch_bytes)
        self._linger_s = linger_s
        self._buffer_bytes = buffer_bytes
        self._full = full
        self._credentials = credentials
        self._begin()
        _ALL.add(self)

    def _begin(self) -> None:
        """As nobody: with numbers of its own, and no thread yet."""
        self._changed = threading.Condition()
        self._outbox = Outbox(*self._batches)
        self._producer = secrets.token_hex(12)
        self._thread: threading.Thread | None = None
        self._sealing_at_s = 0.0
        self._flushing = 0
        self._closing = False
        self._ended = threading.Event()
        self._call: Any = None
        self.dropped = 0  # events that found the buffer full

    def send(
        self,
        body: bytes | str,
        *,
        timestamp_ns: int | None = None,
        attributes: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> bool:
        """Take an event; False when it was dropped. *Blocking* with `full="block"` while the buffer is full, `timeout_s` at most.
        `timestamp_ns`: since 1970 UTC, by default now. Raises ValueError for what no agent takes, and after `close`."""
        data = body.encode(errors="replace") if isinstance(body, str) else bytes(body)
        named = dict(attributes or {})
        if len(data) > limits.EVENT_BYTES_MAX:
            raise ValueError(f"an event of {len(data)} bytes; the limit is {limits.EVENT_BYTES_MAX}")
        if not named.keys().isdisjoint(("", "body", "position", "timestamp")):
            raise ValueError("an event's attributes can't be called body, position or timestamp, or nothing")
        size_bytes = cost_bytes(data, named)
        with self._changed:
            if self._closing:
                raise ValueError("this publisher is closed")
            self._run()
            if not self._has_room(size_bytes):
                wait_s = 0.0 if self._full == "drop" else timeout_s
                if (
                    not self._changed.wait_for(lambda: self._has_room(size_bytes) or self._closing, wait_s)
                    or self._closing
                ):
                    self.dropped += 1
                    return False
            if not self._outbox.gathered:
                self._sealing_at_s = time.monotonic() + self._linger_s
            sealed = self._outbox.sealed
            self._outbox.add(data, time.time_ns() if timestamp_ns is None else timestamp_ns, named)
            if self._outbox.sealed != sealed or self._outbox.gathered == 1:
                self._changed.notify_all()
        return True

    def flush(self, timeout_s: float | None = None) -> bool:
        """*Blocking* until all that was sent is safe in the agent's channel; False when it is not in time."""
        with self._changed:
            self._outbox.seal()
            wanted = self._outbox.end
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._outbox.acked >= wanted, timeout_s)

    def close(self, timeout_s: float = CLOSE_S_MAX) -> int:
        """Flush, and take nothing more; how many events were not acknowledged. Idempotent."""
        until_s = time.monotonic() + timeout_s
        self.flush(timeout_s)
        with self._changed:
            self._closing = True
            left = self._outbox.end - self._outbox.acked
            self._changed.notify_all()
        if self._thread is not None:
            if not left:  # it says that it ends
                self._thread.join(max(0.1, min(1.0, until_s - time.monotonic())))
            self._ended.set()
            call = self._call
            if call is not None:
                call.cancel()
            self._thread.join(1.0)
        return left

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _has_room(self, size_bytes: int) -> bool:
        return not self._outbox.size_bytes or self._outbox.size_bytes + size_bytes <= self._buffer_bytes

    def _run(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._send_all, name="qanat-publisher", daemon=True)
            self._thread.start()

    def _send_all(self) -> None:
        import grpc

        failures = 0
        while not self._ended.is_set():
            acked = self._outbox.acked
            try:
                self._converse(grpc)
                if self._is_finished():
                    return
                error = "the agent ended the connection"
            except grpc.RpcError as raised:
                error = (
                    f"{raised.code().name}: {raised.details()}" if hasattr(raised, "code") else str(raised)
                )
            failures = 1 if self._outbox.acked > acked else failures + 1
            if failures == 1 and not self._ended.is_set():
                log.warning(
                    "publisher_disconnected",
                    target=self._target,
                    error=error,
                    consequence="events wait in memory",
                )
            self._ended.wait(backoff_s(failures, RETRY_S_MAX))

    def _is_finished(self) -> bool:
        with self._changed:
            return self._closing and self._outbox.acked >= self._outbox.end

    def _converse(self, grpc: Any) -> None:
        """One connection, until it ends."""
        if self._credentials is None:
            channel = grpc.insecure_channel(self._target, options=_OPTIONS)
        else:
            channel = grpc.secure_channel(self._target, self._credentials, options=_OPTIONS)
        with channel:
            publish = channel.stream_stream(
                METHOD,
                request_serializer=wire.FromProducer.SerializeToString,
                response_deserializer=wire.ToProducer.FromString,
            )
            session = _Session()
            call = self._call = publish(self._messages(session))
            late = threading.Timer(HELLO_S_MAX, call.cancel)
            late.daemon = True
            late.start()
            try:
                for number, reply in enumerate(call):
                    late.cancel()
                    with self._changed:
                        if number == 0:
                            session.next = reply.next
                        else:
                            self._outbox.acknowledge(reply.next)
                        self._changed.notify_all()
            finally:
                late.cancel()
                self._call = None
                with self._changed:
                    session.is_over = True
                    self._changed.notify_all()

    def _messages(self, session: _Session) -> Iterator[wire.FromProducer]:
        """What is said on one connection. Called on a thread of gRPC."""
        with self._changed:
            acked = self._outbox.acked
        yield wire.FromProducer(
            hello=wire.ProducerHello(
                protocol=PROTOCOL, producer=self._producer, next=acked, attributes=self._attributes
            )
        )
        while (message := self._next(session)) is not None:
            yield message

    def _next(self, session: _Session) -> wire.FromProducer | None:
        """*Blocking* until there is something to say; None: never again."""
        with self._changed:
            while not (session.is_over or session.has_finished or self._ended.is_set()):
                now_s = time.monotonic()
                if self._outbox.gathered and now_s >= self._sealing_at_s:
                    self._outbox.seal()
                if session.next is not None:
                    batch = self._outbox.after(session.next)
                    if batch is not None:
                        session.next = batch.end
                        return batch.message
                    if self._closing and self._outbox.acked >= self._outbox.end:
                        session.has_finished = True
                        return wire.FromProducer(finish=wire.Finish())
                self._changed.wait(max(0.001, self._sealing_at_s - now_s) if self._outbox.gathered else None)
        return None


class _Session:
    """What one connection knows. `next`: the number wanted next, once the agent said it."""

    def __init__(self) -> None:
        self.next: int | None = None
        self.is_over = False
        self.has_finished = False


_ALL: weakref.WeakSet[Publisher] = weakref.WeakSet()


def _begin_again() -> None:
    """In the child of a fork: locks may be held by threads that are not here, and the events are the parent's to send."""
    for each in list(_ALL):
        with contextlib.suppress(AttributeError):
            each._begin()


os.register_at_fork(after_in_child=_begin_again)
