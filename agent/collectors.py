"""What the agent's sinks of every level have in common: one collector, a chain of them, a chain that is filled in."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from qanat.component import AgentSink, Context
from qanat.errors import ConfigError
from qanat.flow.bind import bind
from qanat.flow.model import Call, Failover, Integer, SinkExpression, Text
from qanat.rpc.address import COLLECTOR_PORT, host_port, joined


class SinkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `agent...Sink(...)` accepts."""

    host: str = "localhost"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = COLLECTOR_PORT


class ChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `agent...Chain(...)` accepts."""

    collectors: list[str]  # host or host:port; preferred first


class AutoChainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`auto...Chain` has no arguments."""


class OneCollector(AgentSink):
    """One collector."""

    Config: ClassVar[type[msgspec.Struct]] = SinkConfig

    def __init__(self, config: SinkConfig, context: Context) -> None:
        super().__init__(config, context)
        self._destinations = (joined(config.host, config.port),)

    @classmethod
    def general_form(cls, call: Call) -> SinkExpression:
        """Under its own name: `agentSink` is `agentE2ESink`."""
        return Call(cls.name, call.positional, call.keywords, call.place)

    def destinations(self) -> tuple[str, ...]:
        return self._destinations


class ChainOfCollectors(AgentSink):
    """Several collectors: the next one when one fails, back to the first when that is healthy again."""

    Config: ClassVar[type[msgspec.Struct]] = ChainConfig
    sink: ClassVar[type[OneCollector]]

    def __init__(self, config: ChainConfig, context: Context) -> None:
        super().__init__(config, context)
        self._destinations = tuple(dict.fromkeys(host_port(text) for text in config.collectors))
        if not self._destinations:
            raise ConfigError(f'{self.name}() names no collector; write {self.name}("c1", "c2")')

    @classmethod
    def general_form(cls, call: Call) -> SinkExpression:
        """`< sink("c1") ? sink("c2", 35853) >`."""
        addresses = bind(call, ChainConfig).collectors
        return Failover(
            tuple(Call(cls.sink.name, _arguments(text), place=call.place) for text in addresses), call.place
        )

    def destinations(self) -> tuple[str, ...]:
        return self._destinations


class AutoChain(AgentSink):
    """A chain that whoever starts the cluster fills in: `qanat run` does, with the flow file's collectors."""

    Config: ClassVar[type[msgspec.Struct]] = AutoChainConfig
    chain: ClassVar[type[ChainOfCollectors]]

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)

    def destinations(self) -> tuple[str, ...]:
        raise ConfigError(
            f"{self.context.logical_node}: nobody said which collectors {self.name} means; run the file with "
            f'`qanat run`, or name them: {self.chain.name}("c1", "c2")'
        )


def _arguments(address: str) -> tuple[Text | Integer, ...]:
    """An address of a chain as the arguments of a sink; the sink refuses what is none."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        return Text(host), Integer(int(port))
    return (Text(address),)
