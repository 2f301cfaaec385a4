r"""`regexAll(pattern, names...)`: every group of a regular expression, found in the body, as an attribute.

    coll : autoCollectorSource | regexAll("(\\S+) (\\S+) took=(\\d+)", "verb", "path", "ms") file("/data/", "x-", format="json") ;

The first name gets the first group, and so on; groups with names of their own, `(?P<path>\\S+)`, need none in the list: without
any names all groups have to have one. The syntax is RE2's. An event in which nothing matches follows `on_error`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pyarrow.compute as pc

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows, shared
from qanat.decorators.common.failures import Failures, OnError
from qanat.decorators.common.patterns import Extraction, checked, group_names
from qanat.errors import ConfigError


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `regexAll(...)`."""

    pattern: str  # looked for anywhere in the body
    names: list[str] = []  # of the attributes, in the order of the groups
    source: str | None = None  # the attribute to look in instead of the body
    on_error: OnError = OnError.KEEP  # what becomes of an event in which nothing matches


class RegexAll(Decorator):
    """See the module."""

    name: ClassVar[str] = "regexAll"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        checked(config.pattern, "pattern")
        self._names = _names(config.pattern, config.names)
        self._extraction = Extraction(config.pattern, list(self._names))
        self._failures = Failures(self.name, config.on_error, context)

    def apply(self, batch: Batch) -> Batch:
        found = self._extraction.find(rows.subject(batch, self._config.source))
        result = rows.with_found(batch, {self._names[group]: column for group, column in found.items()})
        missed = pc.is_null(next(iter(found.values())))
        return self._failures.settle(result, missed, "the pattern is not found")


def _names(pattern: str, names: list[str]) -> dict[int, str]:
    """By group. Raises ConfigError."""
    own = group_names(pattern)
    if not names:
        found = {number: name for number, name in enumerate(own, 1) if name is not None}
    elif len(names) > len(own):
        raise ConfigError(
            f"{len(names)} names were given, and {pattern!r} has {len(own)} groups: each name takes one group in parentheses"
        )
    else:
        found = dict(enumerate(names, 1))
    if not found:
        raise ConfigError(
            f'{pattern!r} has no named group: name the attributes, regexAll("(\\\\S+) (\\\\d+)", "verb", "ms")'
        )
    if len(set(found.values())) < len(found):
        raise ConfigError(
            f"two groups of {pattern!r} are to be the same attribute: {', '.join(found.values())}"
        )
    for name in found.values():
        shared.checked_name(name)
    return found
