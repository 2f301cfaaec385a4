"""What deals streams out among agents: shares, and who says whose they are. `agent.dealt` delivers them."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from agent.fan_in import parts_of
from qanat.component import LiveSource, Source

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Share:
    """`sender`: by which name collectors know it, whichever agent has it. `name`: for people. `number`: for its dealer."""

    sender: str
    name: str
    number: int


class Table(abc.ABC):
    """Where shares are put. *Thread*: that of `Dealer.turn`."""

    @abc.abstractmethod
    def give(self, shares: Sequence[Share]) -> None:
        """Deliver these."""

    @abc.abstractmethod
    def take(self, shares: Sequence[Share], *, is_lost: bool) -> None:
        """No more. *Blocking* until what was sent of them is acknowledged, as far as that can be had within `DRAIN_S_MAX`;
        `is_lost`: another has them already, so that nothing is waited for."""


class Dealer(abc.ABC):
    """Says which shares are this agent's. *Thread*: one calls `open`, `turn`, `close`; `source` any."""

    @abc.abstractmethod
    def open(self) -> None:
        """Prepare; nothing is joined yet. Raises ConfigError."""

    @abc.abstractmethod
    def turn(self, table: Table) -> None:
        """Join, at first; then hear what there is. *Blocking* for a moment. Raises FencedError when a later process has taken
        this agent's place."""

    @abc.abstractmethod
    def source(self, share: Share) -> Source:
        """What reads it. Nothing of it is asked before the one that was made before is closed."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leave. All sources are closed by then. Idempotent."""


class DealtSource(Source):
    """A source that can be read by one agent alone, or be dealt out."""

    @abc.abstractmethod
    def dealer(self) -> Dealer | None:
        """Of what it would read; None: it is to be read by this agent alone."""


def dealer_of(source: Source | LiveSource, obstacle: str, label: str) -> Dealer | None:
    """Who deals `source` out; None if nobody does. `obstacle`: why it can't be here, or "": people are told that the agent reads
    all of it alone."""
    dealers = [each.dealer() for each in parts_of(source) if isinstance(each, DealtSource)]
    found = next((each for each in dealers if each is not None), None)
    if found is None:
        return None
    if not isinstance(source, DealtSource):
        obstacle = "several sources are read as one"
    if not obstacle:
        return found
    log.warning(
        "group_not_joined",
        node=label,
        reason=obstacle,
        consequence="this agent reads all partitions itself, and so does every other agent that is told to",
    )
    return None
