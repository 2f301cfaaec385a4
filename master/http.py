"""Every operation as JSON over HTTP, health, and metrics.

    GET  /v1/<operation>?names=a&names=b     operations that change nothing, or list when they have no arguments
    POST /v1/<operation>                     any, with its arguments as a JSON object; X-Qanat-Author for the history
    GET  /healthz  /readyz  /metrics

A POST has the content type application/json, which no page of another site can send without being asked for leave by
the browser. Streams are one JSON object a line.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from master.admin import Operator
from qanat.control.operations import OPERATIONS
from qanat.control.operations.errors import HTTP_STATUS, Kind, OperationError

# A flow of ten thousand statements has some megabytes; over gRPC as much is taken, so that a plan for it still fits a reply.
BODY_BYTES_MAX = 16 << 20

# Open connections are given so long when the server stops: answers are quick, and streams have no end of their own.
_STOP_S = 1.0

# How often it is looked whether somebody still reads a stream.
_LOOK_S = 0.5

_JSON = "application/json"
_LINES = "application/x-ndjson"


class HttpServer:
    """Serves while it is started. `ready` says why not, or ""."""

    def __init__(
        self, operator: Operator, ready: Callable[[], str], metrics: Callable[[], bytes], host: str, port: int
    ) -> None:
        self._operator = operator
        self._ready = ready
        self._metrics = metrics
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """The port. Raises OSError when it is taken."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_told_as_json])
        app.router.add_get("/", self._index)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/v1/{operation}", self._get)
        app.router.add_post("/v1/{operation}", self._post)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _index(self, request: web.Request) -> web.Response:
        operations = {name: each.sentence for name, each in sorted(OPERATIONS.items())}
        return _json(200, {"operations": operations, "health": ["/healthz", "/readyz", "/metrics"]})

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        why_not = self._ready()
        return web.Response(text=f"{why_not or 'ok'}\n", status=503 if why_not else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def _get(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["operation"]
        operation = OPERATIONS.get(name)
        if operation is not None and not operation.reads and (request.query or not operation.lists):
            lists = "; GET it without arguments for a list" if operation.lists else ""
            return _failed(OperationError(Kind.USAGE, f"{name} changes something: POST it{lists}"), 405)
        try:
            arguments = {} if operation is None else _arguments(operation.request, request)
        except msgspec.ValidationError as error:
            return _failed(OperationError(Kind.USAGE, f"{name}: wrong arguments: {error}"))
        return await self._perform(request, name, msgspec.json.encode(arguments))

    async def _post(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != _JSON:
            return _failed(
                OperationError(Kind.USAGE, f"send arguments as {_JSON}, not {request.content_type}"), 415
            )
        return await self._perform(request, request.match_info["operation"], await request.read())

    async def _perform(self, request: web.Request, name: str, arguments: bytes) -> web.StreamResponse:
        author = request.headers.get("X-Qanat-Author", "")
        operation = OPERATIONS.get(name)
        try:
            if operation is not None and operation.streams:
                return await self._stream(request, name, arguments, author)
            return _json(200, await self._operator.call(name, arguments, author))
        except OperationError as error:
            return _failed(error)

    async def _stream(
        self, request: web.Request, name: str, arguments: bytes, author: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _LINES})
        async with contextlib.aclosing(self._operator.stream(name, arguments, author)) as replies:
            try:
                async for reply in _while_read(replies, request):
                    if not response.prepared:
                        await response.prepare(request)
                    await response.write(msgspec.json.encode(reply) + b"\n")
            except OperationError as error:
                if not response.prepared:
                    return _failed(error)
                await response.write(msgspec.json.encode(_error(error)) + b"\n")
            except ConnectionResetError:  # the reader is gone
                return response
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
        return response


@web.middleware
async def _told_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What aiohttp itself refuses is said as everything else is."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _failed(
            OperationError(Kind.NOT_FOUND, f"there is no {request.path}; GET / says what there is")
        )
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        refused = _failed(
            OperationError(Kind.USAGE, f"{request.path} takes {allowed}, not {request.method}"), error.status
        )
        refused.headers["Allow"] = allowed
        return refused
    except web.HTTPRequestEntityTooLarge as error:
        message = f"a request has at most {BODY_BYTES_MAX} bytes; split it"
        return _failed(OperationError(Kind.USAGE, message), error.status)


async def _while_read(
    replies: AsyncGenerator[msgspec.Struct, None], request: web.Request
) -> AsyncGenerator[msgspec.Struct, None]:
    """Until the reader is gone: also while there is nothing to be written that would tell."""
    while True:
        coming = asyncio.ensure_future(anext(replies, None))
        try:
            while not coming.done():
                await asyncio.wait((coming,), timeout=_LOOK_S)
                if request.transport is None or request.transport.is_closing():
                    return
            reply = coming.result()
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
        if reply is None:
            return
        yield reply


def _arguments(kind: type[msgspec.Struct], request: web.Request) -> dict[str, Any]:
    """The query of a GET, by the types of the operation's fields: a list field takes every value of its name."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    found: dict[str, Any] = {}
    for name in dict.fromkeys(request.query):
        values = request.query.getall(name)
        wants_list = getattr(fields.get(name), "__origin__", None) is list
        value = values if wants_list else values[-1]
        found[name] = msgspec.convert(value, fields.get(name, str), strict=False)
    return found


def _error(error: OperationError) -> dict[str, Any]:
    return {"error": {"kind": error.kind.name, "message": str(error), "faults": error.faults}}


def _failed(error: OperationError, status: int | None = None) -> web.Response:
    return _json(HTTP_STATUS[error.kind] if status is None else status, _error(error))


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=_JSON)
