"""`filter(...)` and `drop(...)`: only some events go on.

    coll : autoCollectorSource | filter("level=(WARN|ERROR)") file("/data/bad/", "b-") ;
    coll : autoCollectorSource | drop(attribute="status", equals=["200", "304"]) file("/data/odd/", "o-") ;

`filter` lets those through for which all conditions hold, `drop` all others. Without an attribute the body is looked at; an
event that lacks the attribute, or whose value is no number where one is compared, fulfils no condition. What is removed is
counted as `events_filtered`. Positions stay: what goes on is stored exactly once, whatever crashes.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from qanat import columns, ops
from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import patterns, rows
from qanat.errors import ConfigError

FILTERED = "events_filtered"

_NUMBER = r"^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?\s*$"
_COMPARISONS = {"gt": ops.greater, "ge": ops.greater_equal, "lt": ops.less, "le": ops.less_equal}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `filter(...)` and `drop(...)`: one condition at least."""

    regex: str | None = None  # it is found anywhere (RE2's syntax)
    attribute: str | None = None  # what is looked at instead of the body
    equals: str | list[str] | None = None  # it is this, or one of these
    gt: float | None = None  # as a number it is greater than
    ge: float | None = None  # as a number it is at least
    lt: float | None = None  # as a number it is less than
    le: float | None = None  # as a number it is at most


class Filter(Decorator):
    """What fulfils the conditions goes on."""

    name: ClassVar[str] = "filter"
    Config: ClassVar[type[msgspec.Struct]] = Config
    goes_on: ClassVar[bool] = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        if config.regex is not None:
            patterns.checked(config.regex, "regex")
        equals = [config.equals] if isinstance(config.equals, str) else config.equals
        if equals == []:
            raise ConfigError(f"{self.name}: equals=[] is fulfilled by no event; give it a value")
        self._equals = None if equals is None else [each.encode() for each in equals]
        self._bounds = {name: value for name in _COMPARISONS if (value := getattr(config, name)) is not None}
        if config.regex is None and equals is None and not self._bounds:
            raise ConfigError(
                f'{self.name} has no condition; give it a regex, or an attribute and what it equals: {self.name}("ERROR"), '
                f'{self.name}(attribute="level", equals="ERROR"), {self.name}(attribute="ms", ge=500)'
            )

    def apply(self, batch: Batch) -> Batch:
        subject = rows.subject(batch, self._config.attribute)
        holds = ops.fill_null(reduce(pc.and_kleene, self._conditions(subject)), False)
        result = columns.kept(batch, holds if self.goes_on else pc.invert(holds))
        if result.count < batch.count:
            self.context.count(FILTERED, batch.count - result.count)
        return result

    def _conditions(self, subject: pa.Array) -> list[pa.Array]:
        found = []
        if self._config.regex is not None:
            found.append(patterns.matches(subject, self._config.regex))
        if self._equals is not None:
            among = pc.is_in(subject.cast(pa.binary()), pa.array(self._equals, pa.binary()))
            found.append(among)
        if self._bounds:
            numbers = _numbers(subject)
            found += [_COMPARISONS[name](numbers, bound) for name, bound in self._bounds.items()]
        return found


class Drop(Filter):
    """What fulfils the conditions does not go on."""

    name: ClassVar[str] = "drop"
    goes_on: ClassVar[bool] = False


def _numbers(subject: pa.Array) -> pa.Array:
    """Doubles; null for what is no number."""
    is_number = patterns.matches(subject, _NUMBER)
    text = ops.if_else(is_number, rows.texts(subject), ops.NO_TEXT)
    return pc.ascii_trim_whitespace(text).cast(pa.float64())
