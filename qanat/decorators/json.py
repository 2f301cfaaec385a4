"""`json(keys...)`: bodies that are JSON objects, and their members as attributes.

    coll : autoCollectorSource | json("level", "user.id") file("/data/%{level}/", "x-") ;

Without keys every member of every object becomes an attribute. A key with dots leads into inner objects, if there is no member of
that very name. Attributes are text: a string as it is, a number, `true`, `false`, an inner object or list as JSON. A member that
is null or missing is none. A member called body, position or timestamp becomes `attribute.body`, and so on. A body that is no
JSON object follows `on_error`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pyarrow as pa

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows, shared
from qanat.decorators.common.failures import Failures, OnError
from qanat.decorators.common.objects import Objects


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `json(...)`."""

    keys: list[str] = []  # the members that are wanted; none: all
    prefix: str = ""  # what the names of the attributes begin with
    source: str | None = None  # the attribute to read instead of the body
    on_error: OnError = OnError.KEEP  # what becomes of an event that is no JSON object


class Json(Decorator):
    """See the module."""

    name: ClassVar[str] = "json"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config
        self._objects = Objects(config.keys)
        self._failures = Failures(self.name, config.on_error, context)

    def apply(self, batch: Batch) -> Batch:
        subject = rows.subject(batch, self._config.source)
        found, failed = self._objects.read(subject.cast(pa.binary()))
        named = {shared.harmless_name(self._config.prefix + key): column for key, column in found.items()}
        return self._failures.settle(rows.with_found(batch, named), failed, "no JSON object")
