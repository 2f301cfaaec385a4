"""OTLP's LogsService on gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from agent.live.loop import LoopThread
from agent.otlp.logs import Logs, WrongRequestError, of_protobuf
from qanat import limits
from qanat.component import Events, Inlet, Parcel

SERVICE, METHOD = "opentelemetry.proto.collector.logs.v1.LogsService", "Export"

RETRY_AFTER_S = 1  # a full channel has room after its next batch
_DETAILS = "grpc-status-details-bin"


class LogsService:
    """*Thread*: the loop's."""

    def __init__(
        self,
        thread: LoopThread,
        count: Callable[[str, int], None],
        host: str,
        event_bytes_max: int,
        answer_s_max: float,
    ) -> None:
        self._thread = thread
        self._count = count
        self._attributes: Mapping[str, str] = {"host": host}
        self._event_bytes_max = event_bytes_max
        self._answer_s_max = answer_s_max
        self.is_stopping = False
        self.inlet: Inlet | None = None  # before a server starts

    def handler(self) -> Any:
        """For a server of gRPC."""
        method = grpc.unary_unary_rpc_method_handler(self._export)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def _export(self, data: bytes, context: Any) -> bytes:
        assert self.inlet is not None
        try:
            logs = of_protobuf(data, self._event_bytes_max)
        except WrongRequestError as error:
            self._count("requests_rejected", 1)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            raise AssertionError from error
        if logs.rows is None:
            return answer(logs)
        if self.is_stopping:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the agent stops; send it again")
        told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        parcel = Parcel(
            Events(logs.rows, logs.rows.num_rows, self._attributes),
            min(max(len(data), logs.rows.nbytes), limits.BATCH_BYTES_MAX),
            lambda safe: self._thread.post(_settle, told, safe),
        )
        if not self.inlet.offer(parcel):
            await self._refuse(context, "the channel is full; nothing was taken, send it again later")
        done, _ = await asyncio.wait((told,), timeout=self._answer_s_max)
        if not done:
            taken = not self.inlet.withdraw(parcel)
            await self._refuse(
                context, "the channel is full; send it again" + (", it may be stored twice" if taken else "")
            )
        if not told.result():
            await context.abort(
                grpc.StatusCode.UNAVAILABLE, "the agent stops before the logs are safe; send them again"
            )
        return answer(logs)

    async def _refuse(self, context: Any, why: str) -> None:
        """RESOURCE_EXHAUSTED is repeated by clients only if they are told when (OTLP specification, OTLP/gRPC Throttling)."""
        self._count("requests_refused", 1)
        code = grpc.StatusCode.RESOURCE_EXHAUSTED
        context.set_trailing_metadata(((_DETAILS, throttled(why)),))
        await context.abort(code, why, ((_DETAILS, throttled(why)),))


def throttled(why: str) -> bytes:
    """A google.rpc.Status with RetryInfo."""
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=Duration(seconds=RETRY_AFTER_S)))
    made: bytes = Status(
        code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message=why, details=[detail]
    ).SerializeToString()
    return made


def response(logs: Logs) -> ExportLogsServiceResponse:
    """With partial success, if some were rejected."""
    made = ExportLogsServiceResponse()
    if logs.rejected:
        made.partial_success.rejected_log_records = logs.rejected
        made.partial_success.error_message = (
            f"{logs.rejected} log records have bodies above the limit of event_bytes"
        )
    return made


def answer(logs: Logs) -> bytes:
    """As bytes."""
    made: bytes = response(logs).SerializeToString()
    return made


def _settle(told: asyncio.Future[bool], safe: bool) -> None:
    if not told.done():
        told.set_result(safe)
