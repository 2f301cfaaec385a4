"""What a program owes the control plane: to check a statement, and to run one logical node by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from qanat.check import check_nodes
from qanat.control.sampling import TapPoints
from qanat.flow.model import LogicalNode
from qanat.flow.parser import parse
from qanat.metrics import Metrics
from qanat.throttle import Throttles
from qanat.wire.v1 import control_pb2 as wire

# Collectors that a report names: more than a fan-out has destinations, fewer than would make reports large.
DESTINATIONS_MAX = 20


@dataclass(frozen=True, slots=True)
class Destination:
    """A collector that takes what is delivered, and for how long it has; `address` "": none does."""

    address: str
    for_s: float


class Running(Protocol):
    """One logical node, built and not yet open. *Thread*: the event loop's."""

    async def run(self, opened: Callable[[str], None]) -> None:
        """*Blocking* until stopped, drained as far as time allows. `opened(address)` is called once it has proved to open.

        Raises what made it fail; then and when it is cancelled, everything is released."""

    def amend(self, node: LogicalNode) -> bool:
        """Go on as `node`, without draining anything; False, and nothing has changed, when that can't be."""

    def stop(self, successor: str) -> None:
        """Drain, then end. `successor`: the text that runs next, "" when none does. Raised by `run` when that one must not
        run yet: RetryableError."""

    def retry_soon(self) -> None:
        """Masters have said something new, perhaps that a collector is back: nothing needs to wait for that any longer."""

    @property
    def is_over(self) -> bool:
        """Its sources have an end, and were read to it. What was read may still be on its way."""

    @property
    def delivers_to(self) -> Sequence[Destination]:
        """Each once, at most `DESTINATIONS_MAX`; none where nothing is delivered to collectors."""

    @property
    def trouble(self) -> str:
        """Why it does not open, or does not get on, as far as it knows; "" when all is well."""


class Program(Protocol):
    """An agent or a collector."""

    role: ClassVar[str]

    @property
    def metrics(self) -> Metrics:
        """Its own, which say what it runs, too."""

    @property
    def taps(self) -> TapPoints:
        """Where samples of what passes its logical nodes can be taken."""

    @property
    def throttles(self) -> Throttles:
        """Of what `choke` holds back in it."""

    def check(self, node: LogicalNode) -> None:
        """Whether it can run the node: all of it can be built, and nothing is opened. Raises ConfigError, OSError.

        *Thread*: any, while the node that it is to replace runs."""

    def build(self, node: LogicalNode) -> Running:
        """Build it. Raises ConfigError."""

    def counters(self, logical: str) -> wire.Counters:
        """Totals since the process started, and what is true now; rates are the caller's to add."""


def read_statement(text: str, program: Program) -> LogicalNode:
    """The node that a master's statement describes. Raises ConfigError with every fault. *Thread*: any."""
    (node,) = parse(text, "<statement>").nodes
    check_nodes([node])
    program.check(node)
    return node
