"""When a master has too many nodes, and where they should go. [pure]"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

# Differences below this are no load, and not worth a reconnection: a tenth above the average, and one node. Not more nodes, or
# a small cluster's hang on one master for ever, once the others were restarted.
TOLERANCE = 1.1
TOLERANCE_NODES = 1

# Nodes asked to leave at a time: each reconnects, registers and is told what it should run, a millisecond for the other master.
MOVES_MAX = 200


@dataclass(frozen=True, slots=True)
class Shed:
    """So many nodes should go to one of these masters, the emptiest first."""

    nodes: int
    masters: tuple[str, ...]


def shed(own: str, attached: Mapping[str, int]) -> Shed | None:
    """What master `own` should do, given how many nodes are attached to each; None: nothing.

    It never goes below the average, so that two masters don't push the same nodes back and forth."""
    average = sum(attached.values()) / len(attached)
    mine = attached[own]
    if mine <= average * TOLERANCE + TOLERANCE_NODES:
        return None
    emptier = sorted((count, name) for name, count in attached.items() if count < average)
    excess = mine - math.ceil(average)
    return Shed(min(excess, MOVES_MAX), tuple(name for _, name in emptier))
