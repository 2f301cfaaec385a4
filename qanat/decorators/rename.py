"""`rename(attribute, name)`: the attribute under another name; what had that name before is gone.

    coll : autoCollectorSource | json rename("lvl", "level") file("/data/%{level}/", "x-") ;

Events that lack it are left as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import shared


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `rename(...)`."""

    attribute: str  # what it is called
    name: str  # what it is called from here on


class Rename(Decorator):
    """See the module."""

    name: ClassVar[str] = "rename"
    Config: ClassVar[type[msgspec.Struct]] = Config
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._old, self._new = shared.checked_name(config.attribute), shared.checked_name(config.name)

    def apply(self, batch: Batch) -> Batch:
        if self._old == self._new:
            return batch
        if not isinstance(batch.payload, bytes) and self._old in batch.payload.schema.names:
            from qanat.decorators.common import rows

            column = rows.attribute(batch, self._old)
            rest = rows.without(batch, (self._old,))
            return rows.with_found(rest, {self._new: column})
        if self._old not in batch.attributes:
            return batch
        attributes = {name: value for name, value in batch.attributes.items() if name != self._old}
        renamed = replace(batch, attributes=attributes)
        return shared.with_attribute(renamed, self._new, batch.attributes[self._old])
