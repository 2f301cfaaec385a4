"""`collectorSource`, `autoCollectorSource`, `logicalSource`: take what agents deliver.

coll : collectorSource(35853) | file("/data/%Y-%m-%d/", "web-") ;
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from qanat import component
from qanat.component import Context
from qanat.errors import ConfigError
from qanat.rpc.address import COLLECTOR_PORT, host_port


class CollectorSourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `collectorSource(...)` accepts."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = COLLECTOR_PORT
    host: str = "[::]"  # every address of the host, IPv4 as well; "127.0.0.1" for this machine alone


class AutoSourceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`autoCollectorSource` has no arguments."""


class CollectorSource(component.CollectorSource):
    """Listens on a port of its own."""

    name = "collectorSource"
    Config: ClassVar[type[msgspec.Struct]] = CollectorSourceConfig

    def __init__(self, config: CollectorSourceConfig, context: Context) -> None:
        super().__init__(config, context)
        self._address = host_port(f"{config.host}:{config.port}")

    def address(self) -> str:
        return self._address


class AutoCollectorSource(component.CollectorSource):
    """A port that whoever starts the cluster chooses: `qanat run` does."""

    name = "autoCollectorSource"
    Config: ClassVar[type[msgspec.Struct]] = AutoSourceConfig

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)

    def address(self) -> str:
        raise ConfigError(
            f"{self.context.logical_node}: nobody chose a port for autoCollectorSource; run the file with "
            "`qanat run`, or write collectorSource(35853)"
        )


class LogicalSource(AutoCollectorSource):
    """What `logicalSink` finds by the name of its logical node; masters make `autoCollectorSource` of it."""

    name = "logicalSource"
