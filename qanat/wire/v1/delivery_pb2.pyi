from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PayloadForm(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAYLOAD_FORM_UNSPECIFIED: _ClassVar[PayloadForm]
    PAYLOAD_FORM_LINES: _ClassVar[PayloadForm]
    PAYLOAD_FORM_COLUMNS: _ClassVar[PayloadForm]
PAYLOAD_FORM_UNSPECIFIED: PayloadForm
PAYLOAD_FORM_LINES: PayloadForm
PAYLOAD_FORM_COLUMNS: PayloadForm

class ToCollector(_message.Message):
    __slots__ = ("hello", "open", "batch", "retire", "release", "rewinds")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    RETIRE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    REWINDS_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    open: OpenStreams
    batch: Batch
    retire: RetireStreams
    release: Release
    rewinds: int
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., open: _Optional[_Union[OpenStreams, _Mapping]] = ..., batch: _Optional[_Union[Batch, _Mapping]] = ..., retire: _Optional[_Union[RetireStreams, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., rewinds: _Optional[int] = ...) -> None: ...

class ToAgent(_message.Message):
    __slots__ = ("welcome", "opened", "ack", "rewind", "fenced", "released")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    opened: Opened
    ack: Ack
    rewind: Rewind
    fenced: Fenced
    released: Released
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., opened: _Optional[_Union[Opened, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., rewind: _Optional[_Union[Rewind, _Mapping]] = ..., fenced: _Optional[_Union[Fenced, _Mapping]] = ..., released: _Optional[_Union[Released, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "sender", "instance", "instance_epoch", "ack_on_receipt")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACK_ON_RECEIPT_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    sender: str
    instance: str
    instance_epoch: int
    ack_on_receipt: bool
    def __init__(self, protocol: _Optional[int] = ..., sender: _Optional[str] = ..., instance: _Optional[str] = ..., instance_epoch: _Optional[int] = ..., ack_on_receipt: _Optional[bool] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("instance_epoch", "claim_epoch", "committed", "window_bytes")
    class CommittedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    INSTANCE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    CLAIM_EPOCH_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    WINDOW_BYTES_FIELD_NUMBER: _ClassVar[int]
    instance_epoch: int
    claim_epoch: int
    committed: _containers.ScalarMap[str, int]
    window_bytes: int
    def __init__(self, instance_epoch: _Optional[int] = ..., claim_epoch: _Optional[int] = ..., committed: _Optional[_Mapping[str, int]] = ..., window_bytes: _Optional[int] = ...) -> None: ...

class OpenStreams(_message.Message):
    __slots__ = ("positions",)
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.ScalarMap[str, int]
    def __init__(self, positions: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("positions",)
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.ScalarMap[str, int]
    def __init__(self, positions: _Optional[_Mapping[str, int]] = ...) -> None: ...

class RetireStreams(_message.Message):
    __slots__ = ("streams",)
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, streams: _Optional[_Iterable[str]] = ...) -> None: ...

class Batch(_message.Message):
    __slots__ = ("stream", "start", "end", "count", "form", "payload", "crc32c", "timestamp_ns", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STREAM_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_NS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    stream: str
    start: int
    end: int
    count: int
    form: PayloadForm
    payload: bytes
    crc32c: int
    timestamp_ns: int
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, stream: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., count: _Optional[int] = ..., form: _Optional[_Union[PayloadForm, str]] = ..., payload: _Optional[bytes] = ..., crc32c: _Optional[int] = ..., timestamp_ns: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("positions",)
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.ScalarMap[str, int]
    def __init__(self, positions: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Rewind(_message.Message):
    __slots__ = ("positions",)
    class PositionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.ScalarMap[str, int]
    def __init__(self, positions: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Fenced(_message.Message):
    __slots__ = ("instance_epoch", "instance")
    INSTANCE_EPOCH_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    instance_epoch: int
    instance: str
    def __init__(self, instance_epoch: _Optional[int] = ..., instance: _Optional[str] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Released(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
