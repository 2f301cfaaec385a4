"""`logicalSink`: deliver to the collectors that run a logical node, wherever masters find them.

Guarantee: exactly once, in order for each stream, through crashes of agents and collectors; as `agentE2EChain`, which masters
make of it.

    web : tail("/var/log/nginx/access.log") | logicalSink("store") ;
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from qanat.component import AgentSink, Context
from qanat.errors import ConfigError


class LogicalSinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `logicalSink(...)` accepts."""

    logical: str  # the logical node to deliver to; its source is logicalSource or autoCollectorSource


class LogicalSink(AgentSink):
    """A chain that masters fill in, with the collectors that run a logical node."""

    name = "logicalSink"
    Config: ClassVar[type[msgspec.Struct]] = LogicalSinkConfig

    def __init__(self, config: LogicalSinkConfig, context: Context) -> None:
        super().__init__(config, context)
        self._logical = config.logical

    def destinations(self) -> tuple[str, ...]:
        raise ConfigError(
            f"{self.context.logical_node}: nobody said where {self._logical} runs; apply the file to a master, or name the "
            'collectors: agentE2EChain("c1", "c2")'
        )
