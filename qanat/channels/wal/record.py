"""The format of a record: a fixed part, its CRC32C, a describing part (JSON), the payload. [pure]

The first CRC covers the fixed and the describing part, and with them the payload's own CRC: a record with a damaged payload
can still be passed over, and its numbers are known. It is seeded with the log's incarnation, so that a record which
somebody writes into the text of an event is not taken for one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from crc32c import crc32c

from qanat import limits
from qanat.batch import PayloadForm

MAGIC = b"\xf5QW1"  # the first byte is in no UTF-8 text
_FIXED = struct.Struct("<4sBBHIIIQIIQqQQ")
_CRC = struct.Struct("<I")
FIXED_BYTES = _FIXED.size + _CRC.size  # what every record begins with; the format says so

# What a length may say at most. The describing part: attributes, and streams to forget; a payload in columns has eight bytes
# for the position of each of up to `BATCH_EVENTS_MAX` events besides its bodies; so does the head of 100,000 streams fit.
META_BYTES_MAX = limits.MESSAGE_BYTES_MAX
PAYLOAD_BYTES_MAX = 64 * limits.MIB

HEAD, BATCH, NOTE = 1, 2, 3  # kinds; a note only changes what is known of sources
_FORMS = {PayloadForm.LINES: 1, PayloadForm.COLUMNS: 2}
_FORM_OF = {code: form for form, code in _FORMS.items()}


class Meta(msgspec.Struct, frozen=True, omit_defaults=True):
    """The describing part. `taken`, of a note: how far streams were taken without anything to store."""

    stream: str = ""
    attributes: dict[str, str] = {}
    forget: list[str] = []
    taken: dict[str, int] = {}
    closed: bool = False


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a segment begins with (the payload of its first records).

    `after`: where the events of the segment before end. `skipped`: numbers that were never given, as `[start, end)`. `boot`: of
    the machine, when what follows is not synced.
    """

    incarnation: str
    after: int
    taken: dict[str, int]
    skipped: list[tuple[int, int]] = []
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part. `number`, `count`: of its events; `durable`: of the log when it was written; `start`, `end`: positions
    in the source's stream."""

    kind: int
    form: int
    meta_bytes: int
    payload_bytes: int
    payload_crc: int
    number: int
    count: int
    durable: int
    timestamp_ns: int
    start: int
    end: int

    @property
    def record_bytes(self) -> int:
        """Of the whole record."""
        return FIXED_BYTES + self.meta_bytes + self.payload_bytes

    @property
    def next_number(self) -> int:
        """Behind its events."""
        return self.number + self.count

    @property
    def payload_form(self) -> PayloadForm:
        """Of a batch."""
        return _FORM_OF[self.form]


def seed_of(incarnation: str) -> int:
    """What the CRCs of a log begin with."""
    return int(crc32c(incarnation.encode()))


def encode(
    kind: int,
    meta: bytes,
    payload: bytes,
    seed: int,
    *,
    number: int,
    durable: int,
    form: PayloadForm = PayloadForm.LINES,
    count: int = 0,
    timestamp_ns: int = 0,
    start: int = 0,
    end: int = 0,
) -> bytes:
    """All of a record that comes before its payload."""
    if len(meta) > META_BYTES_MAX or len(payload) > PAYLOAD_BYTES_MAX:
        raise ValueError(
            f"a record of {len(meta)} + {len(payload)} bytes exceeds {META_BYTES_MAX} + {PAYLOAD_BYTES_MAX}"
        )
    fixed = _FIXED.pack(
        MAGIC, kind, _FORMS[form], 0, len(meta), len(payload), crc32c(payload),
        number, count, 0, durable, timestamp_ns, start, end,
    )  # fmt: skip
    return fixed + _CRC.pack(crc32c(meta, crc32c(fixed, _seed(kind, seed)))) + meta


def peek(data: bytes, offset: int = 0) -> Header | None:
    """The fixed part at `offset`, of which nothing was checked but that it may be one."""
    if len(data) - offset < FIXED_BYTES:
        return None
    magic, kind, form, zero, meta, payload, crc, number, count, zeros, durable, time, start, end = (
        _FIXED.unpack_from(data, offset)
    )
    if magic != MAGIC or zero or zeros or form not in _FORM_OF or not HEAD <= kind <= NOTE:
        return None
    if meta > META_BYTES_MAX or payload > PAYLOAD_BYTES_MAX:
        return None
    return Header(kind, form, meta, payload, crc, number, count, durable, time, start, end)


def is_valid(header: Header, data: bytes, seed: int, offset: int = 0) -> bool:
    """Whether the fixed and the describing part, at `offset` of `data`, are as they were written."""
    meta_at = offset + FIXED_BYTES
    if len(data) < meta_at + header.meta_bytes:
        return False
    crc = crc32c(data[offset : offset + _FIXED.size], _seed(header.kind, seed))
    crc = crc32c(data[meta_at : meta_at + header.meta_bytes], crc)
    return bool(_CRC.unpack_from(data, offset + _FIXED.size)[0] == crc)


def _seed(kind: int, seed: int) -> int:
    """A head says what the seed is, so it has none."""
    return 0 if kind == HEAD else seed


def apply(taken: dict[str, int], header: Header, meta: Meta) -> None:
    """How far source streams are taken after this record."""
    if header.kind == BATCH:
        taken[meta.stream] = max(taken.get(meta.stream, 0), header.end)
    for stream, end in meta.taken.items():
        taken[stream] = max(taken.get(stream, 0), end)
    for stream in meta.forget:
        taken.pop(stream, None)


def encode_meta(
    stream: str = "",
    attributes: Mapping[str, str] | None = None,
    *,
    forget: Sequence[str] = (),
    taken: Mapping[str, int] | None = None,
    closed: bool = False,
) -> bytes:
    """The describing part."""
    meta = Meta(stream, dict(attributes or {}), list(forget), dict(taken or {}), closed)
    return msgspec.json.encode(meta)


decode_meta = msgspec.json.Decoder(Meta).decode
decode_head = msgspec.json.Decoder(Head).decode
