"""What a decorator is: the contract that a plug-in implements.

[project.entry-points."qanat.decorators"]
shout = "somebodys.package:Shout"
"""

from __future__ import annotations

import abc

from qanat import limits
from qanat.batch import Batch
from qanat.component import Component


class Decorator(Component):
    """What happens to events on the way, a batch at a time.

    It adds attributes, changes bodies, removes events. What it must leave alone is `stream`, `start` and `end`, and the
    position of each event: delivery counts positions, not events, so a batch that lost some, or all, of its events still
    covers its range, and that is what keeps every other event exactly once. `columns.kept` removes rows,
    `qanat.decorators.common.rows` has the rest.

    *Guarantee* wanted: the result for an event is a function of the event, its stream and its position (and of the
    configuration). A batch may come again after a crash or a change of collectors, and with other boundaries: chance and
    counting would decide differently then; `qanat.decorators.common.sampling` decides by a hash of stream and position.

    *Thread*: `open`, `apply` and `close` are called by one thread. Life: `open`, `apply`*, `close`; again when its owner is
    opened again.
    """

    # Whether a batch of lines may come as it is, as bodies are not looked at. Else every batch comes in COLUMNS form; a chain
    # of decorators converts once.
    takes_lines: bool = False

    def open(self) -> None:
        """Load what is needed (a module, a table). Raises ConfigError when that is not possible on this host."""

    @abc.abstractmethod
    def apply(self, batch: Batch) -> Batch:
        """The batch as it goes on. Raises RetryableError when it can't be done now: the same batch comes again. Anything else
        that is raised lets the batch go on as it came, with an attribute that says why; it is counted."""

    def pause_s(self) -> float:
        """For how long no further batch should come; whoever feeds it stops reading meanwhile. *Thread*: any."""
        return 0.0

    def read_bytes_max(self) -> int:
        """How large the next batch should be at most, about. *Thread*: any."""
        return limits.BATCH_BYTES_TARGET

    def close(self) -> None:
        """Release everything. Idempotent."""
