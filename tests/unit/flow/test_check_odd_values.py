"""Whatever is written as an argument of a component is right or a fault of the flow, and never a defect of the check."""

from __future__ import annotations

import contextlib

import msgspec
import pytest

from qanat import registry
from qanat.check import check
from qanat.errors import ConfigError

# Broken regular expressions, globs, escapes, addresses and numbers; each is fine for some component.
ODD = (r'"\u0000"', '"[z-a]"', '"(?P<"', '"%{x"', "-1", "99999999999999999999", '"a:99999"')

KINDS = {
    registry.SOURCES: (registry.source, '{} | agentBESink("c")'),
    registry.COLLECTOR_SOURCES: (registry.collector_source, "{} | null"),
    registry.CHANNELS: (registry.channel, 'tail("/l") | {} | agentBESink("c")'),
    registry.DECORATORS: (registry.decorator, 'tail("/l") | {} agentBESink("c")'),
    registry.AGENT_SINKS: (registry.agent_sink, 'tail("/l") | {}'),
    registry.SINKS: (registry.sink, "autoCollectorSource | {}"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in sorted(registry.names(kind))]
)
def test_odd_argument_is_right_or_a_fault(kind, name):
    find, form = KINDS[kind]
    fields = msgspec.structs.fields(find(name).Config)
    for field in fields:
        others = [f'{each.encode_name}="/x"' for each in fields if each.required and each is not field]
        for odd in ODD:
            call = f"{name}({', '.join([*others, f'{field.encode_name}={odd}'])})"
            with contextlib.suppress(ConfigError):
                check(f"x : {form.format(call)} ;")
