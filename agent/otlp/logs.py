"""From requests of OTLP to columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress, count, repeat
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError

from agent.otlp import json as otlp_json
from agent.otlp.columns import attribute_columns, own_columns
from agent.otlp.values import JSON, PROTOBUF, Reading
from agent.otlp.wire import Request, mended
from agent.posted.rows import record_batch
from qanat import limits
from qanat.columns import BODY, HOST

# Of a request. An empty one takes two bytes, and what is made of it a kilobyte; those of most clients take hundreds.
RECORDS_MAX = 1 << 18

# What resources and scopes say of themselves, once for each of their records, as it is in columns: eight thousand records, as
# collectors send together, with 8 KiB each.
REPEATED_BYTES_MAX = 64 * limits.MIB

_BODY_OF = attrgetter("body")


class WrongRequestError(ValueError):
    """It would be wrong again; says what is."""


@dataclass(frozen=True, slots=True)
class Logs:
    """`rejected`: records that were too large; they are not among the rows."""

    rows: pa.RecordBatch | None
    rejected: int


def of_protobuf(data: bytes, event_bytes_max: int) -> Logs:
    """Raises WrongRequestError."""
    try:
        try:
            return _logs(Request.FromString(data), PROTOBUF, event_bytes_max)
        except DecodeError:
            return _logs(Request.FromString(mended(data)), PROTOBUF, event_bytes_max)
    except DecodeError as error:
        raise WrongRequestError(f"the request is no ExportLogsServiceRequest: {error}") from error


def of_json(data: bytes, event_bytes_max: int) -> Logs:
    """Raises WrongRequestError."""
    try:
        return _logs(otlp_json.parsed(data), JSON, event_bytes_max)
    except WrongRequestError:
        raise
    except (ValueError, RecursionError, OverflowError) as error:
        raise WrongRequestError(f"the request is no ExportLogsServiceRequest in JSON: {error}") from error


def _logs(request: Any, reading: Reading, event_bytes_max: int) -> Logs:
    scopes = [*_scopes(request, reading)]
    records = [*chain.from_iterable(records for _, records in scopes)]
    if len(records) > RECORDS_MAX:
        raise WrongRequestError(f"more than {RECORDS_MAX} log records in a request; send fewer at a time")
    owners = [*chain.from_iterable(map(repeat, count(), [len(records) for _, records in scopes]))]
    texts = reading.texts([*map(_BODY_OF, records)])
    bodies = pa.array([text or "" for text in texts] if None in texts else texts, pa.binary())
    rejected = 0
    if bodies.nbytes > event_bytes_max:  # else none of them is
        fits = pc.less_equal(pc.binary_length(bodies), pa.scalar(event_bytes_max, pa.int32()))
        bodies, kept = bodies.filter(fits), fits.to_pylist()
        rejected = len(records) - len(bodies)
        if rejected:  # as a request is taken, or refused, whole
            reading.check(chain.from_iterable(each.attributes or () for each in records))
        records, owners = [*compress(records, kept)], [*compress(owners, kept)]
    if not records:
        return Logs(None, rejected)
    made = {BODY: bodies} | own_columns(records)
    made |= attribute_columns([shared for shared, _ in scopes], owners, records, reading)
    return Logs(
        record_batch({name: values for name, values in made.items() if _is_used(name, values)}), rejected
    )


def _scopes(request: Any, reading: Reading) -> Iterator[tuple[Mapping[str, str], Sequence[Any]]]:
    """What records share with others of their resource and scope, and the records. Raises WrongRequestError."""
    repeated_bytes = 0
    for resource_logs in request.resource_logs or ():
        resource = reading.named(resource_logs.resource, "resource.")
        host = {HOST: resource["resource.host.name"]} if "resource.host.name" in resource else {}
        for scope_logs in resource_logs.scope_logs or ():
            scope = scope_logs.scope
            said = {"scope.name": scope.name, "scope.version": scope.version} if scope else {}
            shared = {
                **host,
                **resource,
                **{name: text for name, text in said.items() if text},
                **reading.named(scope, "scope."),
            }
            records = scope_logs.log_records or ()
            repeated_bytes += max(1, len(records)) * sum(map(len, chain.from_iterable(shared.items())))
            if repeated_bytes > REPEATED_BYTES_MAX:
                raise WrongRequestError(
                    "attributes of resources and scopes, repeated for each of their log records, are more than "
                    f"{REPEATED_BYTES_MAX} bytes; send fewer log records at a time"
                )
            yield shared, records


def _is_used(name: str, values: pa.Array) -> bool:
    return name == BODY or values.null_count < len(values)
