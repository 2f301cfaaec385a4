r"""`searchReplace(pattern, replacement)`: what a regular expression finds in the body is replaced, as Flume NG's interceptor.

    coll : autoCollectorSource | searchReplace("password=\\S+", "password=...") file("/data/", "x-") ;
    coll : autoCollectorSource | searchReplace("user=(\\w+)@(\\w+)", "user=$1 realm=$2") file("/data/", "x-") ;

`$1` is the first group (`\\1` means the same), `$0` all that matched, `\\$` a dollar. The syntax of patterns is RE2's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import patterns, rows


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `searchReplace(...)`."""

    pattern: str  # what is replaced, each time it is found
    replacement: str  # what takes its place
    attribute: str | None = None  # where, instead of in the body


class SearchReplace(Decorator):
    """See the module."""

    name: ClassVar[str] = "searchReplace"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._pattern = patterns.checked(config.pattern, "pattern")
        self._rewrite = patterns.checked_rewrite(config.pattern, config.replacement)
        self._attribute = config.attribute

    def apply(self, batch: Batch) -> Batch:
        done = patterns.replaced(rows.subject(batch, self._attribute), self._pattern, self._rewrite)
        if self._attribute is None:
            return rows.with_bodies(batch, done)
        return rows.with_columns(batch, {self._attribute: done})
