"""What masters know of the components that are installed where they run."""

from __future__ import annotations

from qanat import registry
from qanat.check import installed_names, takes_roll
from qanat.control.statements import AUTO_SOURCE, LOGICAL_SINK, LOGICAL_SOURCE, Language


def installed_language() -> Language:
    """The language of this installation."""
    names = installed_names()
    return Language(
        {*names.collector_sources, AUTO_SOURCE, LOGICAL_SOURCE},
        {*names.agent_sinks, LOGICAL_SINK},
        takes_roll,
        registry.general_form,
    )
