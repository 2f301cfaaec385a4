"""`choke(id)`: no faster than a limit that can be changed at any time.

    web : tail("/var/log/nginx/access.log") | choke("lan") autoE2EChain ;

    qanat limit lan --bytes-s 1000000

As in Flume OG, all chokes with one id on one physical node share its limit, each physical node has it for itself, and only bodies
count. What exceeds it is not read from the source yet (on a collector: not taken from the connection), so nothing is lost or
piled up. A limit that the masters set goes before the arguments; without either nothing is limited.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from qanat.batch import Batch
from qanat.component import Context
from qanat.config import Bytes
from qanat.decorator import Decorator
from qanat.throttle import Limit


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of `choke(...)`."""

    id: str = "default"  # whose limit it has
    events_s: float = 0.0  # events a second, where masters set none for this id; 0 is no limit
    bytes_s: Bytes = 0  # bytes of bodies a second, likewise

    def __post_init__(self) -> None:
        if self.events_s < 0:
            raise ValueError(
                f"events_s is {self.events_s}: use a number of events a second, or 0 for no limit"
            )


class Choke(Decorator):
    """See the module."""

    name: ClassVar[str] = "choke"
    Config: ClassVar[type[msgspec.Struct]] = Config
    takes_lines = True

    def __init__(self, config: Any, context: Context) -> None:
        super().__init__(config, context)
        self._config = config

    def open(self) -> None:
        config = self._config
        self.context.throttles.suggest(config.id, Limit(config.events_s, float(config.bytes_s)))

    def apply(self, batch: Batch) -> Batch:
        self.context.throttles.of(self._config.id).passed(batch.count, _body_bytes(batch))
        return batch

    def pause_s(self) -> float:
        return self.context.throttles.of(self._config.id).pause_s()

    def read_bytes_max(self) -> int:
        return self.context.throttles.of(self._config.id).slice_bytes()


def _body_bytes(batch: Batch) -> int:
    if isinstance(batch.payload, bytes):
        return len(batch.payload) - batch.count
    from qanat.columns import join_bodies

    return int(join_bodies(batch.payload).size) - batch.count
