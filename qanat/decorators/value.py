"""`value(attribute, value)`: the same attribute for every event, whatever it was before.

    web : tail("/var/log/nginx/access.log") | value("service", "shop") agentE2EChain("c1", "c2") ;

Costs nothing for each event, and lines stay lines: the attribute holds for the whole batch. With `escape=true` the value is a
template, `%{host}-%Y` or `%{file}`, as in `format(...)`, and may differ between events.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.decorator import Decorator
from qanat.decorators.common import shared


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `value(...)`."""

    attribute: str  # its name
    value: str  # what it is
    escape: bool = False  # whether escapes in the value are replaced


class Value(Decorator):
    """See the module."""

    name: ClassVar[str] = "value"
    Config: ClassVar[type[msgspec.Struct]] = Config

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._attribute = shared.checked_name(config.attribute)
        self._value = config.value
        self._template = None
        if config.escape:
            from qanat.decorators.common.templates import Template

            self._template = Template(config.value, "value")
        self.takes_lines = self._template is None

    def apply(self, batch: Batch) -> Batch:
        if self._template is None:
            return shared.with_attribute(batch, self._attribute, self._value)
        from qanat.decorators.common import rows

        return rows.with_columns(batch, {self._attribute: rows.texts(self._template.expand(batch))})
