"""Whether this node runs commands: only its own administrator can say so, by an option or the environment of the agent. A flow,
and so a master, can't."""

from __future__ import annotations

import os
from collections.abc import Iterable

from qanat.errors import ConfigError
from qanat.flow.model import LogicalNode

VARIABLE = "QANAT_ALLOW_EXEC"
SOURCES = ("exec", "execPeriodic", "execStream")


def is_allowed() -> bool:
    """By whoever started this process."""
    return os.environ.get(VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def allow() -> None:
    """As `--allow-exec` does."""
    os.environ[VARIABLE] = "1"


def demand(what: str) -> None:
    """Raises ConfigError."""
    if not is_allowed():
        raise ConfigError(
            f"{what} runs a command, and this node does not allow that: start its agent with --allow-exec, or with "
            f"{VARIABLE}=1 in its environment. A flow can't, so that no master runs commands on hosts."
        )


def demand_of(nodes: Iterable[LogicalNode]) -> None:
    """Of all that an agent would run. Raises ConfigError."""
    for node in nodes:
        for source in node.sources:
            if source.name in SOURCES:
                demand(f"{node.name}: {source.name}")
