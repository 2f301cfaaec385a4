"""`select(attributes...)`: with these attributes only; body, position, timestamp, host and priority are the event itself.

coll : autoCollectorSource | json select("level", "user") file("/data/", "x-", format="parquet") ;
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator

# As `columns` names them, without importing Arrow.
_EVENT = frozenset(("body", "position", "timestamp", "host", "priority"))


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `select(...)`."""

    attributes: Annotated[list[str], msgspec.Meta(min_length=1)]  # those that stay


class Select(Decorator):
    """See the module."""

    name: ClassVar[str] = "select"
    Config: ClassVar[type[msgspec.Struct]] = Config
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._stay = frozenset(config.attributes) | _EVENT

    def apply(self, batch: Batch) -> Batch:
        attributes = {name: value for name, value in batch.attributes.items() if name in self._stay}
        if isinstance(batch.payload, bytes):
            return replace(batch, attributes=attributes)
        kept = [name for name in batch.payload.schema.names if name in self._stay]
        payload = batch.payload if len(kept) == batch.payload.num_columns else batch.payload.select(kept)
        return replace(batch, attributes=attributes, payload=payload)
