"""What masters know of the components that are installed where they run."""

from __future__ import annotations

import functools

from qanat import registry
from qanat.check import installed_names, takes_roll
from qanat.control.statements import AUTO_SOURCE, LOGICAL_SINK, LOGICAL_SOURCE, Language


def installed_language() -> Language:
    """The language of this installation."""
    names = installed_names()
    agent_sink = functools.cache(
        registry.agent_sink
    )  # a lookup costs more than all the rest of a translation
    return Language(
        {*names.collector_sources, AUTO_SOURCE, LOGICAL_SOURCE},
        {*names.agent_sinks, LOGICAL_SINK},
        takes_roll,
        lambda call: agent_sink(call.name).general_form(call),
    )
