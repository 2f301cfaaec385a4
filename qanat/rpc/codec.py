"""Batches on the wire: what proto/qanat/v1/delivery.proto says, with one copy of the payload."""

from __future__ import annotations

from crc32c import crc32c

from qanat import limits
from qanat.batch import Batch, PayloadForm
from qanat.errors import CorruptError
from qanat.wire.v1 import delivery_pb2 as wire

_FORM = {PayloadForm.LINES: wire.PAYLOAD_FORM_LINES, PayloadForm.COLUMNS: wire.PAYLOAD_FORM_COLUMNS}
_LENGTH_DELIMITED = 2
_PAYLOAD_TAG = bytes([wire.Batch.PAYLOAD_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
_BATCH_TAG = bytes([wire.ToCollector.BATCH_FIELD_NUMBER << 3 | _LENGTH_DELIMITED])
_REWINDS_TAG = bytes([wire.ToCollector.REWINDS_FIELD_NUMBER << 3])


def encode_batch(batch: Batch) -> bytes:
    """A serialised `ToCollector` with this batch.

    protobuf would copy the payload three times; fields may come in any order on the wire, so the payload is appended
    to the serialised rest in one join.
    """
    payload = _payload(batch)
    head = wire.Batch(
        stream=batch.stream,
        start=batch.start,
        end=batch.end,
        count=batch.count,
        form=_FORM[batch.form],
        crc32c=crc32c(payload),
        timestamp_ns=batch.timestamp_ns,
        attributes=batch.attributes,
    ).SerializeToString()
    length = _varint(len(payload))
    whole = len(head) + len(_PAYLOAD_TAG) + len(length) + len(payload)
    return b"".join((_BATCH_TAG, _varint(whole), head, _PAYLOAD_TAG, length, payload))


def after_rewinds(data: bytes, rewinds: int) -> bytes:
    """An encoded batch that says how many rewinds its sender had followed; mostly none, which needs no copy."""
    return data if rewinds == 0 else b"".join((data, _REWINDS_TAG, _varint(rewinds)))


def decode_batch(message: wire.Batch) -> Batch:
    """The batch in a received message. Raises CorruptError when checksum, form or limits do not hold."""
    payload = message.payload
    what = f"batch of stream {message.stream!r} [{message.start}, {message.end})"
    if crc32c(payload) != message.crc32c:
        raise CorruptError(
            f"{what} has CRC32C {crc32c(payload):08x}, its sender computed {message.crc32c:08x}"
        )
    if len(payload) > limits.BATCH_BYTES_MAX:
        raise CorruptError(f"{what} has {len(payload)} payload bytes; the limit is {limits.BATCH_BYTES_MAX}")
    if not message.start <= message.end <= limits.POSITION_MAX:
        raise CorruptError(f"{what} is not a range of positions")
    if message.form == wire.PAYLOAD_FORM_LINES:
        if payload and payload[-1] != 0x0A:
            raise CorruptError(f"{what} is LINES, and its last event has no line end")
        return _batch(message, PayloadForm.LINES, payload)
    if message.form == wire.PAYLOAD_FORM_COLUMNS:
        from qanat import columns  # Arrow: loaded with the first batch that needs it

        return _batch(message, PayloadForm.COLUMNS, columns.decode(payload))
    raise CorruptError(
        f"{what} has payload form {message.form}; this version knows LINES (1) and COLUMNS (2)"
    )


def _batch(message: wire.Batch, form: PayloadForm, payload: object) -> Batch:
    return Batch(
        stream=message.stream,
        start=message.start,
        end=message.end,
        count=message.count,
        form=form,
        payload=payload,
        timestamp_ns=message.timestamp_ns,
        attributes=dict(message.attributes),
    )


def _payload(batch: Batch) -> bytes:
    if isinstance(batch.payload, bytes):
        return batch.payload
    from qanat import columns

    return columns.encode(batch.payload)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
