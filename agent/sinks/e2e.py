"""`agentE2ESink`, `agentE2EChain`, `autoE2EChain`: deliver to collectors, acknowledged once committed in storage.

Guarantee: exactly once, in order for each stream, through crashes of agents and collectors.

    web : tail("/var/log/nginx/access.log") | agentE2EChain("collector-1", "collector-2:35853") ;
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.component import AgentSink, Context
from qanat.errors import ConfigError
from qanat.rpc.address import COLLECTOR_PORT, host_port


class E2ESinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `agentE2ESink(...)` accepts."""

    host: str = "localhost"
    port: int = COLLECTOR_PORT


class E2EChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `agentE2EChain(...)` accepts."""

    collectors: list[str]  # host or host:port; preferred first


class AutoChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`autoE2EChain` has no arguments."""


class AgentE2ESink(AgentSink):
    """One collector."""

    name = "agentE2ESink"
    Config: ClassVar[type[msgspec.Struct]] = E2ESinkConfig

    def __init__(self, config: E2ESinkConfig, context: Context) -> None:
        super().__init__(config, context)
        self._destinations = (host_port(f"{config.host}:{config.port}"),)

    def destinations(self) -> tuple[str, ...]:
        return self._destinations


class AgentE2EChain(AgentSink):
    """Several collectors: the next one when one fails, back to the first when that is healthy again."""

    name = "agentE2EChain"
    Config: ClassVar[type[msgspec.Struct]] = E2EChainConfig

    def __init__(self, config: E2EChainConfig, context: Context) -> None:
        super().__init__(config, context)
        self._destinations = tuple(dict.fromkeys(host_port(text) for text in config.collectors))
        if not self._destinations:
            raise ConfigError('agentE2EChain() names no collector; write agentE2EChain("c1", "c2")')

    def destinations(self) -> tuple[str, ...]:
        return self._destinations


class AutoE2EChain(AgentSink):
    """A chain that whoever starts the cluster fills in: `qanat run` does, with the flow file's collectors."""

    name = "autoE2EChain"
    Config: ClassVar[type[msgspec.Struct]] = AutoChainConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)

    def destinations(self) -> tuple[str, ...]:
        raise ConfigError(
            f"{self.context.logical_node}: nobody said which collectors autoE2EChain means; run the file with "
            '`qanat run`, or name them: agentE2EChain("c1", "c2")'
        )
