"""`otlp()`: logs of OpenTelemetry, over gRPC (port 4317) and HTTP (port 4318, `/v1/logs`, protobuf and JSON).

Guarantee: a request is answered once all of it is in the channel, as safe as that makes it: at least once, as OTLP has no
numbers. A client that repeats what was not answered loses nothing. When the channel is full requests are answered
RESOURCE_EXHAUSTED with RetryInfo, or 503 with Retry-After. Records whose body is above `event_bytes` are rejected, and the answer
says how many.

    otel : otlp() | agentE2EChain("c1", "c2") ;

The body is the record's, as JSON unless it is a string. Attributes: those of the record by their names, of its resource as
`resource.NAME`, of its scope as `scope.NAME` (`scope.name`, `scope.version`), and `severity`, `severity_number`, `trace_id`,
`span_id`, `trace_flags`, `event_name`; `priority` is the severity as Flume OG called it, `host` the resource's `host.name`.
A name that is taken gets `attribute.` before it; names beyond some 240 in a request are in `more_attributes`, as JSON.

What can't be parsed is refused as a whole, INVALID_ARGUMENT or 400, and no client repeats that: in JSON also for one `traceId` or
`spanId` that is not hexadecimal, as by the specification ids are, and as OpenTelemetry's Collector refuses it. So is a request of
more than 262,144 records, or one in which the attributes of resources and scopes, once for each record, take more than 64 MiB.
What is not UTF-8 in a string of protobuf gets replacement characters.

Needs the extra `otlp`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

import msgspec

from agent.faults import refuse
from agent.live import tls
from agent.live.arguments import Encrypted, Port
from agent.sources.http import ANSWER_S_MAX, REQUEST_BYTES_MAX, wrong_sizes
from qanat import limits
from qanat.component import Context, Events, Inlet, LiveSource, Parcel, Wrong
from qanat.config import Bytes, Seconds
from qanat.errors import ConfigError

if TYPE_CHECKING:
    from agent.live.grpc_server import GrpcServer
    from agent.otlp.service import LogsService
    from agent.posted.bodies import Refusal
    from agent.posted.server import Answer, Post, PostServer, Taken

PATH = "/v1/logs"
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"


class _Options(Encrypted, frozen=True, forbid_unknown_fields=True, kw_only=True):
    request_bytes: Bytes = REQUEST_BYTES_MAX  # the largest request, decompressed
    event_bytes: Bytes = limits.EVENT_BYTES_MAX
    wait: Seconds = ANSWER_S_MAX  # for the channel, before a request is refused


class OtlpConfig(_Options, frozen=True, forbid_unknown_fields=True):
    """What `otlp(...)` accepts.

    `connections` holds for each of gRPC and HTTP.
    """

    grpc: Port = 4317  # 0: any that is free
    http: Port = 4318


class Otlp(LiveSource):
    """Parcels hold `Events`."""

    name: ClassVar[str] = "otlp"
    Config: ClassVar[type[msgspec.Struct]] = OtlpConfig

    def __init__(self, config: OtlpConfig, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._grpc: GrpcServer | None = None
        self._http: PostServer | None = None
        self._service: LogsService | None = None

    @classmethod
    def check(cls, config: OtlpConfig) -> Iterable[Wrong]:
        """See Component.check."""
        yield from wrong_sizes(config.request_bytes, config.event_bytes)
        yield from config.wrong()

    @property
    def ports(self) -> tuple[int, int]:
        """Where it listens: gRPC, HTTP."""
        assert self._grpc is not None, "ports before open()"
        assert self._http is not None
        return self._grpc.port, self._http.port

    def open(self) -> None:
        """Raises ConfigError."""
        config, count = self._config, self.context.count
        refuse(self.name, self.check(config))
        try:
            from agent.live.grpc_server import GrpcServer, credentials
            from agent.otlp.service import LogsService
            from agent.posted.server import Handler, PostServer
        except ImportError as error:
            raise ConfigError(
                f"otlp needs what is not installed: {error}; pip install 'qanat[otlp]'."
            ) from error
        self._http = PostServer(
            self.name,
            Handler(self._take, _accepted, _refused),
            request_bytes_max=config.request_bytes,
            connections_max=config.connections,
            answer_s_max=config.wait,
            count=count,
            tls=tls.server_context(self.name, config),
        )
        self._http.open(config.host, config.http)
        self._grpc = GrpcServer(self.name)
        self._service = LogsService(
            self._grpc.thread, count, self.context.host, config.event_bytes, config.wait
        )
        self._grpc.bind(
            self._service.handler(),
            config.host,
            config.grpc,
            connections_max=config.connections,
            message_bytes_max=config.request_bytes,
            credentials=credentials(self.name, config),
        )

    def start(self, inlet: Inlet) -> None:
        assert self._service is not None, "start() before open()"
        assert self._grpc is not None
        assert self._http is not None
        self._service.inlet = inlet
        self._grpc.start()
        self._http.start(inlet)

    def stop(self) -> None:
        if self._service is not None:
            self._service.is_stopping = True
        if self._http is not None:
            self._http.stop()

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        if self._grpc is not None:
            self._grpc.stop()

    def form(self, parcels: Sequence[Parcel]) -> Sequence[Events]:
        """Requests together."""
        from agent.posted.rows import joined

        return joined([parcel.content for parcel in parcels])

    def _take(self, post: Post) -> Taken:
        from agent.otlp.logs import WrongRequestError, of_json, of_protobuf
        from agent.posted.bodies import BAD_REQUEST, UNSUPPORTED, Refusal
        from agent.posted.server import NOT_FOUND, Taken

        if post.path != PATH:
            raise Refusal(NOT_FOUND, f"{post.path[:80]} is not served here, {PATH} is")
        if post.kind not in (_PROTOBUF, _JSON):
            raise Refusal(
                UNSUPPORTED, f"Content-Type {post.kind[:60]!r} is not known here; {_PROTOBUF} and {_JSON} are"
            )
        parse = of_json if post.kind == _JSON else of_protobuf
        try:
            logs = parse(post.body, self._config.event_bytes)
        except WrongRequestError as error:
            raise Refusal(BAD_REQUEST, str(error)) from error
        if logs.rows is None:
            return Taken(None, 0, logs)
        size_bytes = min(max(len(post.body), logs.rows.nbytes), limits.BATCH_BYTES_MAX)
        return Taken(Events(logs.rows, logs.rows.num_rows, {"host": self.context.host}), size_bytes, logs)


def _accepted(said: object, kind: str) -> Answer:
    from google.protobuf.json_format import MessageToJson

    from agent.otlp.logs import Logs
    from agent.otlp.service import response
    from agent.posted.server import Answer

    assert isinstance(said, Logs)
    made = response(said)
    return Answer(MessageToJson(made).encode() if kind == _JSON else made.SerializeToString(), kind)


def _refused(refusal: Refusal, kind: str) -> Answer:
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    from agent.posted.server import Answer

    if kind == _PROTOBUF:
        return Answer(Status(message=refusal.why).SerializeToString(), kind)
    return Answer(msgspec.json.encode({"message": refusal.why}), _JSON)
