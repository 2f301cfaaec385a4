"""`static(key, value)`: an attribute for events that have none of that name, as Flume NG's interceptor.

    web : tail("/var/log/nginx/access.log") | static("datacentre", "fra1") agentE2EChain("c1") ;

With `preserveExisting=false` it is `value(...)`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import shared


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `static(...)`."""

    key: str  # the attribute
    value: str  # what it is
    preserveExisting: bool = True  # noqa: N815 - Flume NG's name. An event that has it already keeps its own


class Static(Decorator):
    """See the module."""

    name: ClassVar[str] = "static"
    Config: ClassVar[type[msgspec.Struct]] = Config
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._key = shared.checked_name(config.key)
        self._config = config

    def apply(self, batch: Batch) -> Batch:
        if self._config.preserveExisting:
            return shared.with_default(batch, self._key, self._config.value)
        return shared.with_attribute(batch, self._key, self._config.value)
