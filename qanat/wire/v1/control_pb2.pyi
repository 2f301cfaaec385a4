from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    HELLO: _ClassVar[State]
    OPENING: _ClassVar[State]
    ACTIVE: _ClassVar[State]
    CLOSING: _ClassVar[State]
    IDLE: _ClassVar[State]
    ERROR: _ClassVar[State]
    LOST: _ClassVar[State]
    DECOMMISSIONED: _ClassVar[State]
    NO_PROGRESS: _ClassVar[State]

class ErrorKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_KIND_UNSPECIFIED: _ClassVar[ErrorKind]
    USAGE: _ClassVar[ErrorKind]
    NOT_FOUND: _ClassVar[ErrorKind]
    CONFLICT: _ClassVar[ErrorKind]
    UNAVAILABLE: _ClassVar[ErrorKind]
    OUTCOME_UNKNOWN: _ClassVar[ErrorKind]
    FAILED: _ClassVar[ErrorKind]
STATE_UNSPECIFIED: State
HELLO: State
OPENING: State
ACTIVE: State
CLOSING: State
IDLE: State
ERROR: State
LOST: State
DECOMMISSIONED: State
NO_PROGRESS: State
ERROR_KIND_UNSPECIFIED: ErrorKind
USAGE: ErrorKind
NOT_FOUND: ErrorKind
CONFLICT: ErrorKind
UNAVAILABLE: ErrorKind
OUTCOME_UNKNOWN: ErrorKind
FAILED: ErrorKind

class FromNode(_message.Message):
    __slots__ = ("register", "report", "tap")
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    TAP_FIELD_NUMBER: _ClassVar[int]
    register: Register
    report: Report
    tap: TapEvents
    def __init__(self, register: _Optional[_Union[Register, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., tap: _Optional[_Union[TapEvents, _Mapping]] = ...) -> None: ...

class Register(_message.Message):
    __slots__ = ("protocol", "name", "role", "host", "labels", "instance", "version", "report", "start")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    name: str
    role: str
    host: str
    labels: _containers.ScalarMap[str, str]
    instance: str
    version: str
    report: Report
    start: int
    def __init__(self, protocol: _Optional[int] = ..., name: _Optional[str] = ..., role: _Optional[str] = ..., host: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., instance: _Optional[str] = ..., version: _Optional[str] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., start: _Optional[int] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("wanted_revision", "applied_revision", "logical", "at_ns")
    WANTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    APPLIED_REVISION_FIELD_NUMBER: _ClassVar[int]
    LOGICAL_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    wanted_revision: str
    applied_revision: str
    logical: _containers.RepeatedCompositeFieldContainer[LogicalState]
    at_ns: int
    def __init__(self, wanted_revision: _Optional[str] = ..., applied_revision: _Optional[str] = ..., logical: _Optional[_Iterable[_Union[LogicalState, _Mapping]]] = ..., at_ns: _Optional[int] = ...) -> None: ...

class LogicalState(_message.Message):
    __slots__ = ("logical", "wanted_hash", "running_hash", "state", "why", "since_ns", "counters", "address", "attempts", "delivers_to")
    LOGICAL_FIELD_NUMBER: _ClassVar[int]
    WANTED_HASH_FIELD_NUMBER: _ClassVar[int]
    RUNNING_HASH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    DELIVERS_TO_FIELD_NUMBER: _ClassVar[int]
    logical: str
    wanted_hash: str
    running_hash: str
    state: State
    why: str
    since_ns: int
    counters: Counters
    address: str
    attempts: int
    delivers_to: _containers.RepeatedCompositeFieldContainer[Destination]
    def __init__(self, logical: _Optional[str] = ..., wanted_hash: _Optional[str] = ..., running_hash: _Optional[str] = ..., state: _Optional[_Union[State, str]] = ..., why: _Optional[str] = ..., since_ns: _Optional[int] = ..., counters: _Optional[_Union[Counters, _Mapping]] = ..., address: _Optional[str] = ..., attempts: _Optional[int] = ..., delivers_to: _Optional[_Iterable[_Union[Destination, _Mapping]]] = ...) -> None: ...

class Destination(_message.Message):
    __slots__ = ("address", "since_ns")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SINCE_NS_FIELD_NUMBER: _ClassVar[int]
    address: str
    since_ns: int
    def __init__(self, address: _Optional[str] = ..., since_ns: _Optional[int] = ...) -> None: ...

class Counters(_message.Message):
    __slots__ = ("events", "bytes", "events_s", "bytes_s", "lag_bytes", "lag_s", "unacked_age_s", "dropped_events", "positions")
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_S_FIELD_NUMBER: _ClassVar[int]
    BYTES_S_FIELD_NUMBER: _ClassVar[int]
    LAG_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAG_S_FIELD_NUMBER: _ClassVar[int]
    UNACKED_AGE_S_FIELD_NUMBER: _ClassVar[int]
    DROPPED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    events: int
    bytes: int
    events_s: float
    bytes_s: float
    lag_bytes: int
    lag_s: float
    unacked_age_s: float
    dropped_events: int
    positions: _containers.ScalarMap[str, int]
    def __init__(self, events: _Optional[int] = ..., bytes: _Optional[int] = ..., events_s: _Optional[float] = ..., bytes_s: _Optional[float] = ..., lag_bytes: _Optional[int] = ..., lag_s: _Optional[float] = ..., unacked_age_s: _Optional[float] = ..., dropped_events: _Optional[int] = ..., positions: _Optional[_Mapping[str, int]] = ...) -> None: ...

class TapEvents(_message.Message):
    __slots__ = ("tap_id", "events", "dropped", "ended", "why", "lost")
    TAP_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    tap_id: str
    events: _containers.RepeatedCompositeFieldContainer[TapEvent]
    dropped: int
    ended: bool
    why: str
    lost: bool
    def __init__(self, tap_id: _Optional[str] = ..., events: _Optional[_Iterable[_Union[TapEvent, _Mapping]]] = ..., dropped: _Optional[int] = ..., ended: _Optional[bool] = ..., why: _Optional[str] = ..., lost: _Optional[bool] = ...) -> None: ...

class TapEvent(_message.Message):
    __slots__ = ("body", "timestamp_ns", "body_bytes", "stream", "position", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    BODY_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_NS_FIELD_NUMBER: _ClassVar[int]
    BODY_BYTES_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    timestamp_ns: int
    body_bytes: int
    stream: str
    position: int
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, body: _Optional[bytes] = ..., timestamp_ns: _Optional[int] = ..., body_bytes: _Optional[int] = ..., stream: _Optional[str] = ..., position: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ToNode(_message.Message):
    __slots__ = ("registered", "assign", "limits", "tap", "stop_tap", "refresh", "heard", "move", "refused")
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    ASSIGN_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    TAP_FIELD_NUMBER: _ClassVar[int]
    STOP_TAP_FIELD_NUMBER: _ClassVar[int]
    REFRESH_FIELD_NUMBER: _ClassVar[int]
    HEARD_FIELD_NUMBER: _ClassVar[int]
    MOVE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    registered: Registered
    assign: Assign
    limits: Limits
    tap: Tap
    stop_tap: StopTap
    refresh: Refresh
    heard: Heard
    move: Move
    refused: Refused
    def __init__(self, registered: _Optional[_Union[Registered, _Mapping]] = ..., assign: _Optional[_Union[Assign, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., tap: _Optional[_Union[Tap, _Mapping]] = ..., stop_tap: _Optional[_Union[StopTap, _Mapping]] = ..., refresh: _Optional[_Union[Refresh, _Mapping]] = ..., heard: _Optional[_Union[Heard, _Mapping]] = ..., move: _Optional[_Union[Move, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ...) -> None: ...

class Registered(_message.Message):
    __slots__ = ("master_id", "masters", "report_s")
    MASTER_ID_FIELD_NUMBER: _ClassVar[int]
    MASTERS_FIELD_NUMBER: _ClassVar[int]
    REPORT_S_FIELD_NUMBER: _ClassVar[int]
    master_id: str
    masters: _containers.RepeatedScalarFieldContainer[str]
    report_s: float
    def __init__(self, master_id: _Optional[str] = ..., masters: _Optional[_Iterable[str]] = ..., report_s: _Optional[float] = ...) -> None: ...

class Assign(_message.Message):
    __slots__ = ("revision", "statements")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    revision: str
    statements: _containers.RepeatedCompositeFieldContainer[Statement]
    def __init__(self, revision: _Optional[str] = ..., statements: _Optional[_Iterable[_Union[Statement, _Mapping]]] = ...) -> None: ...

class Statement(_message.Message):
    __slots__ = ("logical", "flow", "text", "hash", "waiting")
    LOGICAL_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    logical: str
    flow: str
    text: str
    hash: str
    waiting: str
    def __init__(self, logical: _Optional[str] = ..., flow: _Optional[str] = ..., text: _Optional[str] = ..., hash: _Optional[str] = ..., waiting: _Optional[str] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("limits",)
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Limit
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Limit, _Mapping]] = ...) -> None: ...
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    limits: _containers.MessageMap[str, Limit]
    def __init__(self, limits: _Optional[_Mapping[str, Limit]] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("events_s", "bytes_s")
    EVENTS_S_FIELD_NUMBER: _ClassVar[int]
    BYTES_S_FIELD_NUMBER: _ClassVar[int]
    events_s: float
    bytes_s: float
    def __init__(self, events_s: _Optional[float] = ..., bytes_s: _Optional[float] = ...) -> None: ...

class Tap(_message.Message):
    __slots__ = ("tap_id", "logical", "events_max", "seconds", "contains")
    TAP_ID_FIELD_NUMBER: _ClassVar[int]
    LOGICAL_FIELD_NUMBER: _ClassVar[int]
    EVENTS_MAX_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    CONTAINS_FIELD_NUMBER: _ClassVar[int]
    tap_id: str
    logical: str
    events_max: int
    seconds: float
    contains: bytes
    def __init__(self, tap_id: _Optional[str] = ..., logical: _Optional[str] = ..., events_max: _Optional[int] = ..., seconds: _Optional[float] = ..., contains: _Optional[bytes] = ...) -> None: ...

class StopTap(_message.Message):
    __slots__ = ("tap_id",)
    TAP_ID_FIELD_NUMBER: _ClassVar[int]
    tap_id: str
    def __init__(self, tap_id: _Optional[str] = ...) -> None: ...

class Refresh(_message.Message):
    __slots__ = ("logical",)
    LOGICAL_FIELD_NUMBER: _ClassVar[int]
    logical: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, logical: _Optional[_Iterable[str]] = ...) -> None: ...

class Heard(_message.Message):
    __slots__ = ("report_s", "start")
    REPORT_S_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    report_s: float
    start: int
    def __init__(self, report_s: _Optional[float] = ..., start: _Optional[int] = ...) -> None: ...

class Move(_message.Message):
    __slots__ = ("masters",)
    MASTERS_FIELD_NUMBER: _ClassVar[int]
    masters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, masters: _Optional[_Iterable[str]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("why", "fenced")
    WHY_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    why: str
    fenced: bool
    def __init__(self, why: _Optional[str] = ..., fenced: _Optional[bool] = ...) -> None: ...

class CallRequest(_message.Message):
    __slots__ = ("method", "arguments_json", "author")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    method: str
    arguments_json: bytes
    author: str
    def __init__(self, method: _Optional[str] = ..., arguments_json: _Optional[bytes] = ..., author: _Optional[str] = ...) -> None: ...

class CallReply(_message.Message):
    __slots__ = ("result_json", "error", "revision", "stale")
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    result_json: bytes
    error: CallError
    revision: int
    stale: bool
    def __init__(self, result_json: _Optional[bytes] = ..., error: _Optional[_Union[CallError, _Mapping]] = ..., revision: _Optional[int] = ..., stale: _Optional[bool] = ...) -> None: ...

class CallError(_message.Message):
    __slots__ = ("kind", "message", "faults")
    KIND_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    kind: ErrorKind
    message: str
    faults: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, kind: _Optional[_Union[ErrorKind, str]] = ..., message: _Optional[str] = ..., faults: _Optional[_Iterable[str]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("counts_only", "unsettled_only", "names", "revision", "with_names", "nodes_max", "newcomers_only")
    COUNTS_ONLY_FIELD_NUMBER: _ClassVar[int]
    UNSETTLED_ONLY_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    WITH_NAMES_FIELD_NUMBER: _ClassVar[int]
    NODES_MAX_FIELD_NUMBER: _ClassVar[int]
    NEWCOMERS_ONLY_FIELD_NUMBER: _ClassVar[int]
    counts_only: bool
    unsettled_only: bool
    names: _containers.RepeatedScalarFieldContainer[str]
    revision: int
    with_names: bool
    nodes_max: int
    newcomers_only: bool
    def __init__(self, counts_only: _Optional[bool] = ..., unsettled_only: _Optional[bool] = ..., names: _Optional[_Iterable[str]] = ..., revision: _Optional[int] = ..., with_names: _Optional[bool] = ..., nodes_max: _Optional[int] = ..., newcomers_only: _Optional[bool] = ...) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("master_id", "revision", "attached", "unsettled", "nodes", "attached_names")
    MASTER_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    UNSETTLED_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_NAMES_FIELD_NUMBER: _ClassVar[int]
    master_id: str
    revision: int
    attached: int
    unsettled: int
    nodes: _containers.RepeatedCompositeFieldContainer[NodeStatus]
    attached_names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, master_id: _Optional[str] = ..., revision: _Optional[int] = ..., attached: _Optional[int] = ..., unsettled: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[NodeStatus, _Mapping]]] = ..., attached_names: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeStatus(_message.Message):
    __slots__ = ("name", "role", "host", "labels", "instance", "version", "wanted_revision", "wanted", "report", "heard_s", "attached_s")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WANTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    HEARD_S_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_S_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    host: str
    labels: _containers.ScalarMap[str, str]
    instance: str
    version: str
    wanted_revision: str
    wanted: _containers.RepeatedCompositeFieldContainer[Statement]
    report: Report
    heard_s: float
    attached_s: float
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., host: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., instance: _Optional[str] = ..., version: _Optional[str] = ..., wanted_revision: _Optional[str] = ..., wanted: _Optional[_Iterable[_Union[Statement, _Mapping]]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., heard_s: _Optional[float] = ..., attached_s: _Optional[float] = ...) -> None: ...

class SendRequest(_message.Message):
    __slots__ = ("name", "message")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    message: ToNode
    def __init__(self, name: _Optional[str] = ..., message: _Optional[_Union[ToNode, _Mapping]] = ...) -> None: ...

class SendReply(_message.Message):
    __slots__ = ("found",)
    FOUND_FIELD_NUMBER: _ClassVar[int]
    found: bool
    def __init__(self, found: _Optional[bool] = ...) -> None: ...

class TapRequest(_message.Message):
    __slots__ = ("name", "tap")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAP_FIELD_NUMBER: _ClassVar[int]
    name: str
    tap: Tap
    def __init__(self, name: _Optional[str] = ..., tap: _Optional[_Union[Tap, _Mapping]] = ...) -> None: ...

class LookRequest(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class LookReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
