"""Operations asked for by administrators: decoded, performed, and every outcome said, over gRPC."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import grpc
import msgspec
import structlog

from master.desk import Desk
from master.operations import CALLS, STREAMS
from qanat.control.operations import OPERATIONS, decode_request
from qanat.control.operations.configuration import Plan
from qanat.control.operations.errors import Kind, OperationError, as_operation_error
from qanat.flow.faults import did_you_mean
from qanat.wire.v1 import control_pb2 as wire

log = structlog.get_logger(__name__)

# Logical nodes that a log line names; the rest is a number. A line of a log should fit a screen.
LOGGED_MAX = 10


@dataclass(frozen=True, slots=True)
class Operator:
    """Performs operations by name. What goes wrong is an OperationError, always."""

    desk: Desk
    performed: Callable[[str, str, float | None], None] = lambda operation, outcome, seconds: None

    async def call(self, method: str, arguments_json: bytes, author: str) -> msgspec.Struct:
        """What the operation gives."""
        if method in STREAMS:
            raise OperationError(Kind.USAGE, f"{method} gives many replies: ask for it as a stream")
        request = _decoded(method, arguments_json)
        began_s = time.monotonic()
        try:
            reply = await CALLS[method](self.desk, request, author)
        except Exception as error:  # the root of an operation
            told = _told(method, error)
            self.performed(method, told.kind.name.lower(), time.monotonic() - began_s)
            raise told from error
        self.performed(method, "ok", time.monotonic() - began_s)
        if not OPERATIONS[method].reads and not getattr(request, "dry_run", False):
            log.info("operation_done", method=method, author=author or "unknown", **_done(reply))
        return reply

    async def stream(
        self, method: str, arguments_json: bytes, author: str
    ) -> AsyncGenerator[msgspec.Struct, None]:
        """What the operation gives, one after the other."""
        if method in CALLS:
            yield await self.call(method, arguments_json, author)
            return
        request = _decoded(method, arguments_json)
        try:
            async with contextlib.aclosing(STREAMS[method](self.desk, request, author)) as replies:
                async for reply in replies:
                    yield reply
        except Exception as error:
            told = _told(method, error)
            self.performed(method, told.kind.name.lower(), None)
            raise told from error
        self.performed(method, "ok", None)


def _decoded(method: str, arguments_json: bytes) -> msgspec.Struct:
    if method not in OPERATIONS:
        raise OperationError(
            Kind.NOT_FOUND, f"there is no operation {method!r}{did_you_mean(method, OPERATIONS)}"
        )
    try:
        return decode_request(method, arguments_json)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperationError(Kind.USAGE, f"{method}: wrong arguments: {error}") from error


def _done(reply: msgspec.Struct) -> dict[str, object]:
    """What a change came to, for the log."""
    if not isinstance(reply, Plan):
        return {}
    changed = [each.logical for each in reply.changes if each.change != "unchanged"]
    return {"revision": reply.revision, "changed": changed[:LOGGED_MAX], "changed_count": len(changed)}


def _told(method: str, error: Exception) -> OperationError:
    told = as_operation_error(error)
    if told is None:
        log.error("operation_failed", method=method, exc_info=error)
        return OperationError(
            Kind.FAILED,
            f"{method} failed in this master ({type(error).__name__}: {error}); its log says more",
        )
    return told


class AdminService:
    """`Admin`, of this master."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def handler(self) -> grpc.GenericRpcHandler:
        """What a server is given."""
        return grpc.method_handlers_generic_handler(
            "qanat.v1.Admin",
            {
                "Call": grpc.unary_unary_rpc_method_handler(
                    self.call,
                    request_deserializer=wire.CallRequest.FromString,
                    response_serializer=wire.CallReply.SerializeToString,
                ),
                "Stream": grpc.unary_stream_rpc_method_handler(
                    self.stream,
                    request_deserializer=wire.CallRequest.FromString,
                    response_serializer=wire.CallReply.SerializeToString,
                ),
            },
        )

    async def call(self, request: wire.CallRequest, _: object = None) -> wire.CallReply:
        """One operation."""
        try:
            return self._reply(
                await self._operator.call(request.method, request.arguments_json, request.author)
            )
        except OperationError as error:
            return self._failure(error)

    async def stream(
        self, request: wire.CallRequest, _: object = None
    ) -> AsyncGenerator[wire.CallReply, None]:
        """One operation, and all that it gives."""
        try:
            replies = self._operator.stream(request.method, request.arguments_json, request.author)
            async with contextlib.aclosing(replies):
                async for reply in replies:
                    yield self._reply(reply)
        except OperationError as error:
            yield self._failure(error)

    def _reply(self, result: msgspec.Struct) -> wire.CallReply:
        return self._complete(wire.CallReply(result_json=msgspec.json.encode(result)))

    def _failure(self, error: OperationError) -> wire.CallReply:
        told = wire.CallError(kind=int(error.kind), message=str(error), faults=error.faults)  # type: ignore[arg-type]
        return self._complete(wire.CallReply(error=told))

    def _complete(self, reply: wire.CallReply) -> wire.CallReply:
        desk = self._operator.desk
        reply.revision = desk.cache.snapshot.revision
        reply.stale = desk.is_stale
        return reply
