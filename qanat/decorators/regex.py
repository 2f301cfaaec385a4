r"""`regex(pattern, group, attribute)`: a group of a regular expression, found in the body, as an attribute.

    coll : autoCollectorSource | regex("level=(\\w+)", 1, "level") file("/data/%{level}/", "x-") ;

Group 0 is all that matched. The syntax is RE2's. An event in which nothing matches follows `on_error`, and keeps what it had.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
import pyarrow.compute as pc

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows, shared
from qanat.decorators.common.failures import Failures, OnError
from qanat.decorators.common.patterns import Extraction


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `regex(...)`."""

    pattern: str  # looked for anywhere in the body
    group: Annotated[int, msgspec.Meta(ge=0)]  # its number
    attribute: str  # what gets it
    source: str | None = None  # the attribute to look in instead of the body
    on_error: OnError = OnError.KEEP  # what becomes of an event in which nothing matches


class Regex(Decorator):
    """See the module."""

    name: ClassVar[str] = "regex"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        shared.checked_name(config.attribute)
        self._extraction = Extraction(config.pattern, [config.group])
        self._failures = Failures(self.name, config.on_error, context)

    def apply(self, batch: Batch) -> Batch:
        found = self._extraction.find(rows.subject(batch, self._config.source))[self._config.group]
        result = rows.with_found(batch, {self._config.attribute: found})
        return self._failures.settle(result, pc.is_null(found), "the pattern is not found")
