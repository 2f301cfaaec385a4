r"""`split(pattern, index, attribute)`: the body split by a regular expression, and one of its parts as an attribute.

    coll : autoCollectorSource | split("\\s+", 3, "verb") file("/data/%{verb}/", "x-") ;

Parts count from 0; negative ones from the end. An event with fewer parts follows `on_error`.
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
from qanat.decorators.common import patterns, rows, shared
from qanat.decorators.common.failures import Failures, OnError

# Up to here one pattern finds the part, ten times as fast as splitting; RE2 unrolls it, and takes a thousand repetitions at most.
INDEX_MAX = 50


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `split(...)`."""

    pattern: str  # what stands between two parts
    index: int  # of the part
    attribute: str  # what gets it
    source: str | None = None  # the attribute to split instead of the body
    on_error: OnError = OnError.KEEP  # what becomes of an event with fewer parts


class Split(Decorator):
    """See the module."""

    name: ClassVar[str] = "split"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        patterns.checked(config.pattern, "pattern")
        shared.checked_name(config.attribute)
        self._failures = Failures(self.name, config.on_error, context)
        self._extraction = None
        if 0 <= config.index <= INDEX_MAX:
            before = f"(?:.*?(?:{config.pattern})){{{config.index}}}" if config.index else ""
            pattern = rf"(?s)\A{before}(.*?)(?:(?:{config.pattern})|\z)"
            self._group = len(patterns.group_names(before)) + 1
            self._extraction = patterns.Extraction(pattern, [self._group])

    def apply(self, batch: Batch) -> Batch:
        subject = rows.subject(batch, self._config.source)
        if self._extraction is not None:
            found = self._extraction.find(subject)[self._group]
        else:
            found = rows.texts(rows.by_encoding(subject, self._part))
        result = rows.with_found(batch, {self._config.attribute: found})
        return self._failures.settle(result, pc.is_null(found), f"there is no part {self._config.index}")

    def _part(self, column: pa.Array) -> pa.Array:
        parts = pc.split_pattern_regex(column, self._config.pattern)
        sizes = pc.list_value_length(parts).cast(pa.int64())
        index = self._config.index
        wanted = ops.add(sizes, index) if index < 0 else ops.repeated(index, len(parts))
        is_there = pc.and_(ops.less(wanted, sizes), ops.greater_equal(wanted, 0))
        begins = parts.offsets.slice(0, len(parts)).cast(pa.int64())
        at = ops.if_else(is_there, ops.add(begins, wanted), ops.NO_INTEGER)
        return pc.take(parts.values, at)
