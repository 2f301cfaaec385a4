r"""`exDate(attribute, pattern, prefix, padding)`: the parts of a date in an attribute, as attributes of their own.

    coll : autoCollectorSource | regex("on (\\S+)", 1, "at") exDate("at", "dd/MMM/yyyy") file("/data/%{dateyear}/", "x-") ;

The pattern is written as for Java's SimpleDateFormat, as in Flume OG. The attributes are the prefix and `day`, `month`, `year`,
`hr`, `min`, `sec`: dateday, datemonth, ... An attribute that is no such date follows `on_error`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from qanat import ops
from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows
from qanat.decorators.common.failures import Failures, OnError
from qanat.decorators.common.layouts import java_layout
from qanat.decorators.common.moments import Reader


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `exDate(...)`."""

    attribute: str  # that has the date
    pattern: str  # how it is written
    prefix: str = "date"  # what the names of the attributes begin with
    padding: bool = True  # 2010-1-1 gives 01, else 1
    on_error: OnError = OnError.KEEP  # what becomes of an event without such a date


class ExDate(Decorator):
    """See the module."""

    name: ClassVar[str] = "exDate"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._reader = Reader(java_layout(config.pattern))
        self._failures = Failures(self.name, config.on_error, context)

    def apply(self, batch: Batch) -> Batch:
        moments = self._reader.read(rows.attribute(batch, self._config.attribute), batch.timestamp_ns)
        failed = pc.is_null(moments.ns)
        parts = {
            "day": moments.day,
            "month": moments.month,
            "year": moments.year,
            "hr": moments.hour,
            "min": moments.minute,
            "sec": moments.second,
        }
        named = {self._config.prefix + name: self._text(part, failed) for name, part in parts.items()}
        return self._failures.settle(rows.with_found(batch, named), failed, "no such date")

    def _text(self, part: pa.Array, failed: pa.Array) -> pa.Array:
        text = ops.if_else(failed, ops.NO_INTEGER, part).cast(pa.string())
        return pc.utf8_lpad(text, 2, "0") if self._config.padding else text
