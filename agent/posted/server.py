"""An HTTP server of POST requests, each of which becomes a parcel or is refused: aiohttp on a loop and thread of its own.

What a peer does or leaves undone costs nobody else anything: a request has `REQUEST_S_MAX` to arrive, all that are under way
together hold `HELD_BYTES_MAX` at most, and connections beyond the limit are closed at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import HttpVersion11, web

from agent.live.server import Server
from agent.posted.bodies import BAD_REQUEST, TOO_LARGE, Refusal, decoded
from qanat import limits
from qanat.component import Parcel

log = structlog.get_logger(__name__)

# The library logs each request that is no HTTP as an error, with a traceback; who scans ports would fill disks.
_QUIET = logging.getLogger(f"{__name__}.quiet")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False

# A request of the largest size takes a second of a slow line of 32 Mbit/s; one of 1 Mbit/s has time for it, a stalled one has not
# for ever.
REQUEST_S_MAX = 60.0

# Bodies that are not complete, and those that wait for an answer, of all connections: sixteen of the largest.
HELD_BYTES_MAX = 64 * limits.MIB

# What a request costs beside its body: a task, a parser, headers of some KB.
REQUEST_BYTES = 16 * limits.KIB

# A connection without a request is closed after so long: agents' clients send every few seconds, if anything.
IDLE_S_MAX = 75.0

# A peer that still sends what was refused is read for so long, or the end of its connection would overtake the answer.
LINGER_S = 2.0

# Answers that are being written when the source closes.
CLOSE_S_MAX = 1.0

# What a peer that is refused for want of room is told to wait: a full channel has room after its next batch.
RETRY_AFTER_S = 1

TIMEOUT, UNAVAILABLE, NOT_ALLOWED, NOT_FOUND, FAILED = 408, 503, 405, 404, 500

REFUSED = "requests_refused"  # counted: answered 503 for want of room
REJECTED = "requests_rejected"  # counted: answered 4xx
CONNECTIONS_REFUSED = "connections_refused"


@dataclass(frozen=True, slots=True)
class Post:
    """`kind`: of Content-Type, in small letters, without parameters. `body`: decompressed."""

    path: str
    kind: str
    charset: str
    headers: Mapping[str, str]
    body: bytes
    peer: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What a parcel will hold, None when there is nothing in it; `said`: for `Answers.accepted`."""

    content: Any
    size_bytes: int
    said: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and its Content-Type."""

    body: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class Handler:
    """`take` raises Refusal; `accepted(said, kind)` and `refused(refusal, kind)` make what the peer is told, in the format
    `kind` that it sent. All are called on the server's thread."""

    take: Callable[[Post], Taken]
    accepted: Callable[[Any, str], Answer]
    refused: Callable[[Refusal, str], Answer]


class PostServer(Server):
    """See Server. No request is taken any more after `stop`; answers go on."""

    def __init__(
        self,
        name: str,
        handler: Handler,
        *,
        request_bytes_max: int,
        connections_max: int,
        answer_s_max: float,
        count: Callable[[str, int], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(name, connections_max=connections_max, count=count, tls=tls)
        self._handler = handler
        self._request_bytes_max = request_bytes_max
        self._answer_s_max = answer_s_max
        self._server: web.Server | None = None
        self._is_stopping = False
        self._held_bytes = 0
        self._silent: set[web.RequestHandler] = set()  # connections without a request so far

    async def _listen(self, listening: socket.socket) -> None:
        self._server = web.Server(
            self._serve,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=IDLE_S_MAX,
            lingering_time=LINGER_S,
            logger=_QUIET,
        )
        await super()._listen(listening)

    async def _stop(self) -> None:
        self._is_stopping = True
        await super()._stop()

    async def _close(self) -> None:
        await self._stop()
        if self._server is not None:
            await self._server.shutdown(CLOSE_S_MAX)

    def _protocol(self) -> asyncio.Protocol:
        """For a new connection."""
        assert self._server is not None
        if len(self._server.connections) >= self.connections_max or self._is_stopping:
            self.count(CONNECTIONS_REFUSED, 1)
            return _Closed()
        made = self._server()
        self._silent.add(made)
        asyncio.get_running_loop().call_later(REQUEST_S_MAX, self._close_if_silent, made)
        return made

    def _close_if_silent(self, connection: web.RequestHandler) -> None:
        """Who connects and never asks."""
        if connection in self._silent:
            self._silent.discard(connection)
            connection.force_close()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        self._silent.discard(request.protocol)
        kind = request.content_type if "Content-Type" in request.headers else ""
        held = _Held(self)
        try:
            held.more(REQUEST_BYTES)
            if request.method != "POST":
                raise Refusal(NOT_ALLOWED, f"{request.method} does nothing here; POST events")
            post = await self._read(request, kind.lower(), held)
            taken = self._handler.take(post)
            if taken.content is not None:
                await self._hand_over(taken)
            answer = self._handler.accepted(taken.said, post.kind)
            return web.Response(status=200, body=answer.body, headers={"Content-Type": answer.kind})
        except Refusal as refusal:
            return self._refused(refusal, kind.lower(), request)
        except ConnectionError:  # nobody is there to be answered
            raise
        except Exception as error:  # noqa: BLE001  # a task's root: the library would only log it
            log.error("request_failed", source=self.name, error=repr(error))
            return self._refused(Refusal(FAILED, "the agent failed; its log says why"), kind.lower(), request)
        finally:
            held.release()

    def _refused(self, refusal: Refusal, kind: str, request: web.BaseRequest) -> web.Response:
        self.count(REFUSED if refusal.status == UNAVAILABLE else REJECTED, 1)
        answer = self._handler.refused(refusal, kind)
        headers = {"Content-Type": answer.kind}
        if refusal.status == UNAVAILABLE:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        if refusal.status == NOT_ALLOWED:
            headers["Allow"] = "POST"
        response = web.Response(status=refusal.status, body=answer.body, headers=headers)
        if self._is_stopping:
            response.force_close()
        return response

    async def _read(self, request: web.BaseRequest, kind: str, held: _Held) -> Post:
        """All of it, decompressed. Raises Refusal."""
        if (request.content_length or 0) > self._request_bytes_max:
            raise self._too_large()
        await _go_on(request)
        body = bytearray()
        try:
            async with asyncio.timeout(REQUEST_S_MAX):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > self._request_bytes_max:
                        raise self._too_large()
                    held.more(len(chunk))
        except TimeoutError:
            raise Refusal(TIMEOUT, f"the request did not arrive within {REQUEST_S_MAX:.0f} s") from None
        except web.RequestPayloadError as error:
            raise Refusal(BAD_REQUEST, f"the request's body is broken: {error}") from error
        encoding = request.headers.get("Content-Encoding", "")
        whole = decoded(bytes(body), encoding, self._request_bytes_max)
        held.more(max(0, len(whole) - len(body)))
        try:
            charset = request.charset or ""
        except (ValueError, LookupError):
            charset = ""
        return Post(request.path, kind, charset, request.headers, whole, request.remote or "")

    def _too_large(self) -> Refusal:
        return Refusal(
            TOO_LARGE, f"a request may have {self._request_bytes_max} bytes; send fewer events at a time"
        )

    async def _hand_over(self, taken: Taken) -> None:
        """Until it is safe in the channel. Raises Refusal."""
        if self._is_stopping:
            raise Refusal(UNAVAILABLE, "the agent stops; send it again")
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        parcel = Parcel(taken.content, taken.size_bytes, lambda safe: self.post(_settle, answer, safe))
        if not self.inlet.offer(parcel):
            raise Refusal(UNAVAILABLE, "the channel is full; nothing was taken, send it again later")
        done, _ = await asyncio.wait((answer,), timeout=self._answer_s_max)
        if not done and self.inlet.withdraw(parcel):
            raise Refusal(UNAVAILABLE, "the channel is full; nothing was taken, send it again later")
        if not done:
            raise Refusal(
                UNAVAILABLE,
                "the channel has not said in time that it has the events; send them again, they may be stored twice",
            )
        if not answer.result():
            raise Refusal(UNAVAILABLE, "the agent stops before the events are safe; send them again")

    def hold(self, size_bytes: int) -> bool:
        """False when too much is held."""
        self._held_bytes += size_bytes
        return self._held_bytes <= HELD_BYTES_MAX


async def _go_on(request: web.BaseRequest) -> None:
    """Whoever waits to be told before it sends its body is told (RFC 9110, 10.1.1): curl waits a second, others longer."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer, as aiohttp's own applications have it


class _Held:
    """What one request takes of the memory that all share."""

    def __init__(self, server: PostServer) -> None:
        self._server = server
        self._size_bytes = 0

    def more(self, size_bytes: int) -> None:
        """Raises Refusal."""
        self._size_bytes += size_bytes
        if not self._server.hold(size_bytes):
            raise Refusal(UNAVAILABLE, "too many requests at a time; nothing was taken, send it again later")

    def release(self) -> None:
        """All of it."""
        self._server.hold(-self._size_bytes)


class _Closed(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


def _settle(answer: asyncio.Future[bool], safe: bool) -> None:
    if not answer.done():
        answer.set_result(safe)
