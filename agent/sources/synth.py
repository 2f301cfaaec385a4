"""`asciisynth`, `synth`, `nullsynth`: synthetic events, as of Flume OG: to measure a flow.

Guarantee: each event is stored exactly once at level E2E; a restarted agent goes on where storage ends.

    load : asciisynth(1000000, 200) | agentBEChain("c1", "c2") ;
"""

from __future__ import annotations

import random
from typing import Annotated, ClassVar, Literal

import msgspec

from agent.generated import Generated
from qanat import limits
from qanat.component import Context

# Different bodies before they come again: enough that compression finds little, few enough to make at once.
BODIES = 64

_PRINTABLE = bytes(range(0x20, 0x7F))
_ANY = bytes(byte for byte in range(256) if byte != 0x0A)
_ZERO = b"\0"


class SynthConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What they accept."""

    count: Annotated[int, msgspec.Meta(ge=0)] = 0  # how many events; 0: no end
    size: Annotated[int, msgspec.Meta(ge=0, le=limits.EVENT_BYTES_MAX)] = 500  # bytes of a body
    seed: int = 0  # another seed, other events
    rate: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # events a second; 0: as fast as they are taken


class _Synthetic(Generated):
    kind: ClassVar[Literal["ascii", "any", "null"]]
    Config: ClassVar[type[msgspec.Struct]] = SynthConfig

    def __init__(self, config: SynthConfig, context: Context) -> None:
        super().__init__(config, context, config.count, config.rate)
        self._size = config.size
        self._bodies = _bodies(self.kind, config.size, config.seed)

    def lines(self, start: int, end: int) -> bytes:
        """The same for the same numbers, whatever else was asked for."""
        each, first = self._size + 1, start % BODIES
        rounds = (first + end - start) // BODIES + 1
        return (self._bodies * rounds)[first * each : (first + end - start) * each]

    def size_bytes(self) -> int:
        return self._size + 1


class AsciiSynth(_Synthetic):
    """Random printable characters."""

    name = "asciisynth"
    kind = "ascii"


class Synth(_Synthetic):
    """Random bytes, but no line ends."""

    name = "synth"
    kind = "any"


class NullSynth(_Synthetic):
    """Zeros: what costs least to make, and compresses best."""

    name = "nullsynth"
    kind = "null"


def _bodies(kind: str, size: int, seed: int) -> bytes:
    alphabet = {"ascii": _PRINTABLE, "any": _ANY, "null": _ZERO}[kind]
    chance = random.Random(seed)
    return b"".join(bytes(chance.choices(alphabet, k=size)) + b"\n" for _ in range(BODIES))
