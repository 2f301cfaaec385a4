"""`timestamp(formats...)`: the time of an event, as it stands in its body.

    coll : autoCollectorSource | timestamp file("/data/%Y-%m-%d/", "x-") ;
    coll : autoCollectorSource | timestamp("%d/%b/%Y:%H:%M:%S %z", "%b %d %H:%M:%S") file("/data/%Y/", "x-") ;

Formats are strptime's, or `rfc3339`, which is also what is looked for without any; `%f` is a fraction of any precision, `%s` the
time since 1970 in seconds, or by its number of digits in milli-, micro- or nanoseconds. The first format that is found anywhere
in the body counts. `timezone` is for times without an offset. A time without a year is the last such time before the event was
read, one without a date the nearest. An event in which no time is found follows `on_error`, and keeps the time that it had: when
it was read.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pyarrow.compute as pc

from qanat import escapes, ops
from qanat.batch import Batch
from qanat.columns import TIMESTAMP, TIMESTAMP_TYPE
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows
from qanat.decorators.common.failures import Failures, OnError
from qanat.decorators.common.layouts import strptime_layout
from qanat.decorators.common.moments import Reader, first_found, in_zone


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `timestamp(...)`."""

    formats: list[str] = []  # tried in this order; none: rfc3339
    attribute: str | None = None  # where to look instead of in the body
    timezone: str = "UTC"  # of times without an offset, as Europe/Berlin
    on_error: OnError = OnError.KEEP  # what becomes of an event in which no time is found


class Timestamp(Decorator):
    """See the module."""

    name: ClassVar[str] = "timestamp"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._attribute = config.attribute
        self._readers = [Reader(strptime_layout(each)) for each in config.formats or ["rfc3339"]]
        escapes.zone(config.timezone)
        self._zone = "UTC" if config.timezone.upper() in ("UTC", "Z", "GMT") else config.timezone
        self._failures = Failures(self.name, config.on_error, context)

    def apply(self, batch: Batch) -> Batch:
        subject = rows.subject(batch, self._attribute)
        found = [
            in_zone(each, self._zone) for each in first_found(self._readers, subject, batch.timestamp_ns)
        ]
        ns = ops.coalesce(*found, ops.NO_INTEGER)
        failed = pc.is_null(ns)
        times = ops.coalesce(ns.cast(TIMESTAMP_TYPE), rows.times(batch))
        return self._failures.settle(rows.with_columns(batch, {TIMESTAMP: times}), failed, "no time is found")
