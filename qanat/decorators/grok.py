r"""`grok(pattern)`: a pattern made of named ones, and what it finds in the body as attributes.

    coll : autoCollectorSource | grok("%{IP:client} %{WORD:verb} %{URIPATHPARAM:path} %{NUMBER:ms}") file("/data/", "x-") ;
    coll : autoCollectorSource | grok("%{COMBINEDAPACHELOG}") file("/data/%{response}/", "x-") ;

`%{NAME}` is a pattern of that name, `%{NAME:attribute}` one whose match becomes an attribute, unless it is empty; between them
stands RE2's syntax. The names are Logstash's, with definitions that need no look-around: the building blocks, and formats of
syslog, Apache httpd, HAProxy, Squid, AWS, Java, Tomcat, Ruby, Redis, MongoDB, PostgreSQL and BIND. `definitions` adds your own,
`["TICKET [A-Z]+-\\d+"]`. The pattern is looked for anywhere; `^...$` is all of the body. `%{NUMBER:ms:int}` is `%{NUMBER:ms}`,
since attributes are text. `[source][ip]` is called `source.ip`, and `timestamp`, which would be the event's time,
`timestamp_text`. An event in which nothing matches follows `on_error`.
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
from qanat.decorators.common import grok_patterns, rows, shared
from qanat.decorators.common.failures import Failures, OnError
from qanat.decorators.common.patterns import Extraction
from qanat.errors import ConfigError


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `grok(...)`."""

    pattern: str  # looked for anywhere in the body
    definitions: list[str] = []  # more patterns: a name, a space, the pattern
    source: str | None = None  # the attribute to look in instead of the body
    on_error: OnError = OnError.KEEP  # what becomes of an event in which nothing matches


class Grok(Decorator):
    """See the module."""

    name: ClassVar[str] = "grok"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._source = config.source
        pattern, names = grok_patterns.expanded(config.pattern, config.definitions)
        if not names:
            raise ConfigError(
                f'{config.pattern!r} makes no attribute: name what is wanted, grok("%{{WORD:verb}}")'
            )
        self._names = {number: shared.checked_name(name) for number, name in names.items()}
        self._extraction = Extraction(pattern, list(names))
        self._failures = Failures(self.name, config.on_error, context)

    def apply(self, batch: Batch) -> Batch:
        groups = self._extraction.find(rows.subject(batch, self._source))
        found: dict[str, pa.Array] = {}
        for number, name in self._names.items():  # of several of one name, the first that says something
            column = ops.if_else(ops.equal(groups[number], ""), ops.NO_TEXT, groups[number])
            found[name] = column if name not in found else ops.coalesce(found[name], column)
        missed = pc.is_null(next(iter(groups.values())))
        return self._failures.settle(rows.with_found(batch, found), missed, "the pattern is not found")
