r"""`format(pattern)`: another body, made of the event by a template with escapes.

    coll : autoCollectorSource | regex("user=(\\w+)", 1, "user") format("%{user} %Y-%m-%d %{body}") file("/data/", "x-") ;

`%{body}` is the body that it had, `%{name}` an attribute (empty where there is none), `%Y` and the like the time of the event:
the escapes of file names.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat import escapes
from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import rows
from qanat.decorators.common.templates import Template


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `format(...)`."""

    pattern: str  # the template
    timezone: str = "UTC"  # for the escapes of time


class Format(Decorator):
    """See the module."""

    name: ClassVar[str] = "format"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._template = Template(config.pattern, "pattern", escapes.zone(config.timezone))

    def apply(self, batch: Batch) -> Batch:
        return rows.with_bodies(batch, self._template.expand(batch))
