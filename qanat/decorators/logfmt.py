"""`logfmt(keys...)`: bodies of the form `level=info msg="two words" ok`, and their pairs as attributes.

    coll : autoCollectorSource | logfmt("level", "user") file("/data/%{level}/", "x-") ;

Without keys every pair of every body becomes an attribute. Words without `=` are passed over. In quotes a
backslash is as in JSON: `\\"`, `\\\\`, `\\n`, `\\u00e9`. A key that comes twice: the last one counts. A body without any
`key=value` follows `on_error`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import pairs, rows, shared
from qanat.decorators.common.failures import Failures, OnError


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `logfmt(...)`."""

    keys: list[str] = []  # those that are wanted; none: all
    prefix: str = ""  # what the names of the attributes begin with
    source: str | None = None  # the attribute to read instead of the body
    on_error: OnError = OnError.KEEP  # what becomes of an event without any pair


class Logfmt(Decorator):
    """See the module."""

    name: ClassVar[str] = "logfmt"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._failures = Failures(self.name, config.on_error, context)

    def apply(self, batch: Batch) -> Batch:
        found, failed = pairs.read(rows.subject(batch, self._config.source), self._config.keys)
        named = {shared.harmless_name(self._config.prefix + key): column for key, column in found.items()}
        return self._failures.settle(rows.with_found(batch, named), failed, "no key=value")
