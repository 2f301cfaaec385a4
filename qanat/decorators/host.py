"""`host()`: the name of the host that this runs on, as an attribute.

    coll : autoCollectorSource | host("collector") file("/data/%{collector}/", "x-") ;

Sources set `host` by themselves, so without a name an event keeps the host that it has (`preserveExisting`); another name adds
whose hands it went through.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import shared


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `host(...)`."""

    attribute: str = "host"  # its name
    preserveExisting: bool = True  # noqa: N815 - Flume NG's name. An event that has it already keeps its own


class Host(Decorator):
    """See the module."""

    name: ClassVar[str] = "host"
    Config: ClassVar[type[msgspec.Struct]] = Config
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._attribute = shared.checked_name(config.attribute)
        self._preserves = config.preserveExisting

    def apply(self, batch: Batch) -> Batch:
        if self._preserves:
            return shared.with_default(batch, self._attribute, self.context.host)
        return shared.with_attribute(batch, self._attribute, self.context.host)
